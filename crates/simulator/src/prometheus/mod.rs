//! A Prometheus and an Alertmanager of the simulated cluster.
