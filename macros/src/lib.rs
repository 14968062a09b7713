//! The derives of cloakroom.
