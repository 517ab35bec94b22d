"""No models: rows are written through the client alone. Django tells an app without this module of no migration."""
