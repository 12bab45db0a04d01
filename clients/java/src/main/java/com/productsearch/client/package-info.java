/**
 * The Java client of {@code productsearch.v1.ProductSearch}, beside the generated code.
 *
 * <p>Start at {@link com.productsearch.client.ProductSearchClient}. The messages are in {@code
 * com.productsearch.v1}.
 */
package com.productsearch.client;
