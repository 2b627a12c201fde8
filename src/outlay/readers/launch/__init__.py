"""Launch lines, scripts and settings of serving engines."""
