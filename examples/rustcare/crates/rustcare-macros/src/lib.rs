//! `#[derive(Id)]`: typed identifiers with a readable text form.
//!
//! The macro writes the impls and nothing else; what an identifier may be is decided in `rustcare-core`. A struct of
//! another shape is a compile error at the struct.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, parse_macro_input};

/// Makes `struct PatientId(i64)` an identifier that reads `pat-42`.
///
/// `#[id(prefix = "pat")]` is required. Writes `new`, `get`, `Display`, `FromStr`, `Serialize` and `Deserialize`; the
/// last three refuse other prefixes and numbers below 1 with `rustcare_core::ParseIdError`.
#[proc_macro_derive(Id, attributes(id))]
pub fn derive_id(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn expand(input: &DeriveInput) -> Result<TokenStream2> {
    require_one_field(input)?;
    let prefix = prefix(input)?;
    let name = &input.ident;
    let new_doc = format!("Wraps the number of a row; `{prefix}-1` is the first one.");
    Ok(quote! {
        impl #name {
            #[doc = #new_doc]
            pub const fn new(number: i64) -> Self {
                Self(number)
            }

            /// The number of the row.
            pub const fn get(self) -> i64 {
                self.0
            }
        }

        impl ::core::fmt::Display for #name {
            fn fmt(&self, formatter: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::write!(formatter, "{}-{}", #prefix, self.0)
            }
        }

        impl ::core::str::FromStr for #name {
            type Err = ::rustcare_core::ParseIdError;

            fn from_str(text: &str) -> ::core::result::Result<Self, Self::Err> {
                ::rustcare_core::ParseIdError::parse(#prefix, text).map(Self)
            }
        }

        impl ::serde::Serialize for #name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for #name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                let text = <::std::string::String as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }
    })
}

fn require_one_field(input: &DeriveInput) -> Result<()> {
    match &input.data {
        Data::Struct(data) if matches!(&data.fields, Fields::Unnamed(fields) if fields.unnamed.len() == 1) => {
            Ok(())
        }
        _ => Err(Error::new(
            input.span(),
            "`Id` needs a struct with one unnamed field, as in `struct PatientId(i64);`",
        )),
    }
}

fn prefix(input: &DeriveInput) -> Result<String> {
    let mut prefix = None;
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("id")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("prefix") {
                return Err(meta.error("expected `prefix`"));
            }
            prefix = Some(meta.value()?.parse::<LitStr>()?.value());
            Ok(())
        })?;
    }
    prefix.ok_or_else(|| Error::new(input.span(), "`Id` needs `#[id(prefix = \"…\")]`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(source: &str) -> String {
        expand(&syn::parse_str(source).unwrap()).unwrap_err().to_string()
    }

    #[test]
    fn other_shapes_are_refused() {
        assert!(error_of("#[id(prefix = \"a\")] struct A { b: i64 }").contains("one unnamed field"));
        assert!(error_of("#[id(prefix = \"a\")] enum A { B }").contains("one unnamed field"));
        assert!(error_of("struct A(i64);").contains("prefix"));
        assert!(error_of("#[id(suffix = \"a\")] struct A(i64);").contains("expected `prefix`"));
    }
}
