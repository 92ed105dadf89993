"""The one place that names every class: settings and files become a running broker."""
