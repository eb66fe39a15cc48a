//! The data plane: serves clients, queues, places and forwards requests by the snapshot it follows.
