"""PostgreSQL: the pool, what listens to notifications, and the migrations."""
