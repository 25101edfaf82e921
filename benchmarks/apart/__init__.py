"""What runs in processes of its own: it needs the extra `bench`, and what one has loaded would slow the next."""
