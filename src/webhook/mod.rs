//! Out to merchants: signed, retried, never to a private address. Source: contract §5.
