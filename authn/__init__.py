"""Request authentication: what a verified token tells the policies."""
