"""What comes out: result pages and plots, releases, exports."""
