"""Start-up logs of serving engines."""
