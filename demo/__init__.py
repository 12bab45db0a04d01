"""Shows the product at work on this machine: engine, facade and client over real images."""
