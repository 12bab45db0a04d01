"""When a call may go out: slots of the quota, the circuit breaker, retries."""
