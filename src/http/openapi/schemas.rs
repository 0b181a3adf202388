//! How bodies look in the OpenAPI document: each schema made from that of the noun, so that they cannot drift apart.
//!
//! utoipa's derived schemas know no generics of other people's; a handler names each by an alias (`type DidGroupPatch = ...`).

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, AnyOf, Array, Object, Schema, SchemaType};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::http::body::{MergePatch, NewObject, Replacement};
use crate::http::fields::View;
use crate::http::history::{Entry, EntryList};
use crate::http::list::{Envelope, ListOf};
use crate::input::{Completeness, Input, Members};
use crate::store::Resource;

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The writable members of `T`, none of which must be there.
impl<T: Input + ToSchema> PartialSchema for MergePatch<T> {
    fn schema() -> RefOr<Schema> {
        Schema::Object(input::<T>()).into()
    }
}

impl<T: Input + ToSchema> ToSchema for MergePatch<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Patch", noun::<T>()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
    }
}

/// The members of `T`, of which those must be there that have no default.
impl<T: Input + ToSchema> PartialSchema for NewObject<T> {
    fn schema() -> RefOr<Schema> {
        let mut new = input::<T>();
        new.required = Members::needed::<T>(Completeness::Partial);
        new.description = Some("A new object; what is absent gets its default.".to_owned());
        Schema::Object(new).into()
    }
}

impl<T: Input + ToSchema> ToSchema for NewObject<T> {
    fn name() -> Cow<'static, str> {
        format!("New{}", noun::<T>()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
    }
}

/// The writable members of `T`, all of which must be there.
impl<T: Input + ToSchema> PartialSchema for Replacement<T> {
    fn schema() -> RefOr<Schema> {
        let mut whole = input::<T>();
        whole.description = Some("The whole object: every member that can be written.".to_owned());
        whole.required = Members::needed::<T>(Completeness::Whole);
        Schema::Object(whole).into()
    }
}

impl<T: Input + ToSchema> ToSchema for Replacement<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Replacement", noun::<T>()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
    }
}

/// What a body may hold: the members that are read, those that may be sent back with no effect, and no others.
fn input<T: Input + ToSchema>() -> Object {
    let mut object = object::<T>();
    for name in T::READ_ONLY {
        let ignored = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Read only: may be sent back as it was read, and has no effect."));
        object.properties.insert((*name).to_owned(), Schema::Object(ignored.build()).into());
    }
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    object
}

/// The whole `R`; or, where `with_related`, `include_fields` or `exclude_fields` ask for it, more or less of it.
impl<R: Resource + ToSchema> PartialSchema for View<R> {
    fn schema() -> RefOr<Schema> {
        let mut part = object::<R>();
        part.required.clear();
        part.description = Some("What was asked for of the object.".to_owned());
        part.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        if R::is_owned() {
            let owner = Ref::from_schema_name(View::<R::Owner>::name());
            part.properties.insert("partner".to_owned(), owner.into());
        }
        let whole = Ref::from_schema_name(R::name());
        Schema::AnyOf(AnyOf { items: vec![whole.into(), part.into()], ..AnyOf::default() }).into()
    }
}

impl<R: Resource + ToSchema> ToSchema for View<R> {
    fn name() -> Cow<'static, str> {
        format!("{}View", R::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        schemas.push((R::name().into_owned(), R::schema()));
        R::schemas(schemas);
        if R::is_owned() {
            schemas.push((View::<R::Owner>::name().into_owned(), View::<R::Owner>::schema()));
            View::<R::Owner>::schemas(schemas);
        }
    }
}

/// The envelope of a list, its items as they are viewed.
impl<R: Resource + ToSchema> PartialSchema for ListOf<R> {
    fn schema() -> RefOr<Schema> {
        envelope(View::<R>::name())
    }
}

impl<R: Resource + ToSchema> ToSchema for ListOf<R> {
    fn name() -> Cow<'static, str> {
        format!("{}List", R::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        Envelope::schemas(schemas);
        schemas.push((View::<R>::name().into_owned(), View::<R>::schema()));
        View::<R>::schemas(schemas);
    }
}

/// The envelope of a history.
impl PartialSchema for EntryList {
    fn schema() -> RefOr<Schema> {
        envelope(Entry::name())
    }
}

impl ToSchema for EntryList {
    fn schemas(schemas: &mut Schemas) {
        Envelope::schemas(schemas);
        schemas.push((Entry::name().into_owned(), Entry::schema()));
        Entry::schemas(schemas);
    }
}

/// The envelope of a list whose items have the schema of that name.
fn envelope(items: Cow<'static, str>) -> RefOr<Schema> {
    let mut envelope = object::<Envelope>();
    let item = Ref::from_schema_name(items);
    envelope.properties.insert("items".to_owned(), Array::new(item).into());
    Schema::Object(envelope).into()
}

/// What an input is an input of.
fn noun<T: ToSchema>() -> String {
    T::name().trim_start_matches("New").trim_end_matches("Changes").to_owned()
}

/// The members that `T` is documented with, its own and those of the objects that are flattened into it.
fn object<T: ToSchema>() -> Object {
    let mut known = Vec::new();
    T::schemas(&mut known);
    let mut whole = Object::new();
    gather(T::schema(), &known, &mut whole);
    whole
}

fn gather(schema: RefOr<Schema>, known: &Schemas, whole: &mut Object) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            whole.description = object.description.or(whole.description.take());
            whole.properties.extend(object.properties);
            whole.required.extend(object.required);
        }
        RefOr::T(Schema::AllOf(parts)) => {
            parts.items.into_iter().for_each(|part| gather(part, known, whole));
            whole.description = parts.description;
        }
        RefOr::Ref(reference) => {
            let name = reference.ref_location.rsplit('/').next().unwrap_or_default();
            let named = known.iter().find(|(known, _)| known == name);
            if let Some((_, schema)) = named {
                gather(schema.clone(), known, whole);
            }
        }
        RefOr::T(_) => {}
    }
}
