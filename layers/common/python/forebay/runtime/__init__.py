"""Where the parts meet: settings, composition root, batch glue."""
