"""After the close: scores, reports, backup, retention, retraining."""
