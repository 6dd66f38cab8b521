//! What can go wrong while a run is planned or trained, in words for the user.

use thiserror::Error;

#[derive(Debug, Error)]
pub enum TrainError {
    #[error("`{name}` is {value}; it must be {wanted}")]
    Setting { name: String, value: f64, wanted: String },

    #[error("the run has no end; give `epochs` or `steps` above zero")]
    Endless,
}
