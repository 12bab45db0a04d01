/**
 * The Java client of {@code productsearch.v1.ProductSearch}: everything that generated code does
 * not give.
 *
 * <p>Start at {@link com.productsearch.client.ProductSearchClient}. The messages are in {@code
 * com.productsearch.v1}.
 */
package com.productsearch.client;
