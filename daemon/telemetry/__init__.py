"""What the daemon tells about itself: metrics, messages, alerts.  Nothing here can trade."""
