"""Sending files: which zone and key, checksums with every byte, and resuming what broke off."""
