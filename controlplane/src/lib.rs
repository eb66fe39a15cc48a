//! The control plane: backends and routes in a durable store, probing, planning, publishing, the management API.
