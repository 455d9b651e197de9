"""What the tables of `tempo.data.host_ops` and `tempo.data.device_ops` hold."""
