"""Forebay: event-driven ingest pipeline and storage control plane for imaging and genomics."""
