//! The catalogue of recordings on its way into the database: read from files, checked, imported.

mod checks;
mod import;
mod json;
mod location;
mod members;
mod settings_file;

pub use self::import::{ImportFailure, Imported, Importer, embed_missing};
pub use self::json::JsonLines;
pub use self::members::{Distinct, Line, Members};
pub use self::settings_file::CatalogueFile;
