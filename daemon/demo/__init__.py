"""The demo: a recorded trading day on the real daemon, told in a screenful."""
