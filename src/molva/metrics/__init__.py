"""Metrics for Prometheus. What happens often is counted as it happens; what can be looked up is, when somebody asks."""
