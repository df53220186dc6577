//! The fleet file and the model it describes.
