//! Derives the header codecs of `kerolox-wire`.
//!
//! ```ignore
//! #[derive(Debug, Default, Clone, PartialEq, Header)]
//! #[header(name = "PullMessageRequestHeader")]
//! pub struct PullMessageRequest<'a> {
//!     #[header(required)]
//!     pub consumer_group: Cow<'a, str>,
//!     #[header(name = "queueOffset", required)]
//!     pub queue_offset: i64,
//!     pub subscription: Option<Cow<'a, str>>,
//!     #[header(flatten)]
//!     pub rpc: RpcFields<'a>,
//! }
//! ```
//!
//! `name` on the struct is the reference's class; `name` on a field is its wire name, by default
//! the field's in camelCase; `required` refuses a header without it; `flatten`, once, embeds the
//! fields of another header.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitByteStr, LitStr, Result, parse_macro_input};

/// Implements `Header` and `EncodeHeader` of `kerolox-wire` for a struct; see the crate's page.
#[proc_macro_derive(Header, attributes(header))]
pub fn derive_header(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand(&input)
        .unwrap_or_else(Error::into_compile_error)
        .into()
}

/// What stands in `#[header(…)]`.
#[derive(Default)]
struct Attributes {
    name: Option<String>,
    required: bool,
    flatten: bool,
}

impl Attributes {
    fn of(attributes: &[syn::Attribute]) -> Result<Self> {
        let mut found = Self::default();
        for attribute in attributes
            .iter()
            .filter(|attribute| attribute.path().is_ident("header"))
        {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("name") {
                    found.name = Some(meta.value()?.parse::<LitStr>()?.value());
                } else if meta.path.is_ident("required") {
                    found.required = true;
                } else if meta.path.is_ident("flatten") {
                    found.flatten = true;
                } else {
                    return Err(meta.error("name, required or flatten expected"));
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}

fn camel_case(name: &str) -> String {
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        match character {
            '_' => upper = true,
            _ if upper => {
                camel.extend(character.to_uppercase());
                upper = false;
            }
            _ => camel.push(character),
        }
    }
    camel
}

fn expand(input: &DeriveInput) -> Result<Tokens> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a header is a struct"));
    };
    let Fields::Named(fields) = &data.fields else {
        return Err(Error::new_spanned(input, "a header has named fields"));
    };
    let Some(class) = Attributes::of(&input.attrs)?.name else {
        return Err(Error::new_spanned(
            &input.ident,
            "#[header(name = \"…\")] is missing",
        ));
    };

    let (mut arms, mut puts, mut infos) = (Vec::new(), Vec::new(), Vec::new());
    let mut required: u64 = 0;
    let mut flattened = None;
    for field in &fields.named {
        let Some(ident) = &field.ident else { continue };
        let ty = &field.ty;
        let attributes = Attributes::of(&field.attrs)?;
        if attributes.flatten {
            if flattened.replace((ident, ty)).is_some() {
                return Err(Error::new_spanned(ident, "only one header can be embedded"));
            }
            continue;
        }
        if infos.len() == 64 {
            return Err(Error::new_spanned(ident, "a header has at most 64 fields"));
        }
        let bit = 1_u64 << infos.len();
        let is_required = attributes.required;
        if is_required {
            required |= bit;
        }
        let wire = attributes
            .name
            .unwrap_or_else(|| camel_case(&ident.to_string()));
        let name = LitByteStr::new(wire.as_bytes(), Span::call_site());
        arms.push(quote! {
            #name => {
                self.#ident = match <#ty as ::wire::header::FieldValue>::parse(value) {
                    Some(value) => value,
                    None => return Err(::wire::header::HeaderError::invalid(
                        #class, #wire, <#ty as ::wire::header::FieldValue>::WANTED, value,
                    )),
                };
                Ok(#bit)
            }
        });
        puts.push(quote! { ::wire::header::FieldValue::put(&self.#ident, #wire, sink); });
        infos.push(quote! {
            ::wire::header::Field {
                name: #wire,
                kind: <#ty as ::wire::header::FieldValue>::KIND,
                required: #is_required,
            }
        });
    }

    let (otherwise, put_flattened, flattened_fields) = match flattened {
        Some((ident, ty)) => (
            quote! { ::wire::header::Header::set(&mut self.#ident, name, value).map(|_| 0) },
            quote! { ::wire::header::EncodeHeader::encode(&self.#ident, sink); },
            quote! { .chain(<#ty as ::wire::header::Header>::fields()) },
        ),
        None => (quote! { Ok(0) }, quote! {}, quote! {}),
    };

    let name = &input.ident;
    let (_, ty_generics, where_clause) = input.generics.split_for_impl();
    let (encode_generics, ..) = input.generics.split_for_impl();
    let lifetime = input
        .generics
        .lifetimes()
        .next()
        .map(|parameter| &parameter.lifetime);
    let (decode_generics, frame) = match lifetime {
        Some(lifetime) => (quote! { <#lifetime> }, quote! { #lifetime }),
        None => (quote! { <'frame> }, quote! { 'frame }),
    };
    Ok(quote! {
        impl #decode_generics ::wire::header::Header<#frame> for #name #ty_generics #where_clause {
            const NAME: &'static str = #class;
            const REQUIRED: u64 = #required;

            fn fields() -> ::std::vec::Vec<::wire::header::Field> {
                [#(#infos),*].into_iter() #flattened_fields .collect()
            }

            fn set(
                &mut self,
                name: &[u8],
                value: &#frame [u8],
            ) -> ::std::result::Result<u64, ::wire::header::HeaderError> {
                match name {
                    #(#arms)*
                    _ => #otherwise,
                }
            }
        }

        impl #encode_generics ::wire::header::EncodeHeader for #name #ty_generics #where_clause {
            fn encode(&self, sink: &mut ::wire::header::FieldSink<'_>) {
                #(#puts)*
                #put_flattened
            }
        }
    })
}
