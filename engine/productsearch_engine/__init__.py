"""Self-hosted product image search over PostgreSQL that speaks the vendor's REST contract."""
