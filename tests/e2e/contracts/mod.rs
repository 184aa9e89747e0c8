//! The contracts that people can start from, in `policies/contracts`: that they can
//! be used, that a machine which does nothing but run is congruent under them, and
//! that what they do not allow is found.

mod booted;
mod laid_out;
mod shipped;
mod violations;
