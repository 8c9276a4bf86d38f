use axum::Json;
use rustcare_api_types::CodeBody;
use serde::Deserialize;

use crate::extract::Parameters;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CodeQuery {
    #[serde(default)]
    prefix: String,
}

pub(crate) async fn list(Parameters(query): Parameters<CodeQuery>) -> Json<Vec<CodeBody>> {
    let codes = rustcare_codes::with_prefix(&query.prefix.to_uppercase());
    let body =
        |code: &rustcare_codes::Code| CodeBody { code: code.code.to_owned(), title: code.title.to_owned() };
    Json(codes.iter().map(body).collect())
}
