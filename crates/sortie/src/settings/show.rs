//! The `config` command: what is in force, and where each value came from.

use super::layers::Origin;
use crate::cli::Format;
use crate::exit::{Failure, Result};
use crate::render;
use crate::talk;

/// Shows every setting.
pub(crate) fn show(origins: &[Origin], format: Format) -> Result<()> {
    match format {
        Format::Json => {
            let value = serde_json::to_value(origins).map_err(|error| Failure::internal(error.to_string()))?;
            talk::json(&value)
        }
        Format::Table => {
            let rows = origins.iter().map(|origin| [&origin.key, &origin.value, &origin.source].map(render::cell));
            talk::line(&render::table(&["SETTING", "VALUE", "SOURCE"], rows.map(Vec::from)))
        }
    }
}
