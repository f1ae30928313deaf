//! Operations against a model, bytes against the decoder.
