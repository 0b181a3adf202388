//! The schemas of bodies, views and lists. Each is derived from the schema of the object, so that
//! they cannot disagree.
//!
//! The derive macros of utoipa cannot use the traits of this crate, so the generic types have their
//! schemas here. A handler names each by an alias: `type DidGroupPatch = MergePatch<...>`.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, AnyOf, Object, Schema, SchemaType};
use utoipa::openapi::{ObjectBuilder, Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::http::body::{MergePatch, NewObject, Replacement};
use crate::http::page::{Envelope, List};
use crate::http::view::View;
use crate::input::{Completeness, Input, Members};
use crate::store::{HistoryEntry, Resource};

type Schemas = Vec<(String, RefOr<Schema>)>;

/// The writable members of `T`, all optional.
impl<T: Input + ToSchema> PartialSchema for MergePatch<T> {
    fn schema() -> RefOr<Schema> {
        let mut patch = input::<T>();
        patch.description = Some("Changes: a member that is absent is unchanged.".to_owned());
        Schema::Object(patch).into()
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

/// The members of `T`. Those without a default are required.
impl<T: Input + ToSchema> PartialSchema for NewObject<T> {
    fn schema() -> RefOr<Schema> {
        let mut new = input::<T>();
        new.required = Members::needed::<T>(Completeness::Partial);
        if !is_request::<T>() {
            let description = "A new object: a member that is absent has its default.";
            new.description = Some(description.to_owned());
        }
        Schema::Object(new).into()
    }
}

impl<T: Input + ToSchema> ToSchema for NewObject<T> {
    fn name() -> Cow<'static, str> {
        if is_request::<T>() { T::name() } else { format!("New{}", noun::<T>()).into() }
    }

    fn schemas(schemas: &mut Schemas) {
        T::schemas(schemas);
    }
}

/// The writable members of `T`, all required.
impl<T: Input + ToSchema> PartialSchema for Replacement<T> {
    fn schema() -> RefOr<Schema> {
        let mut whole = input::<T>();
        whole.description = Some("A whole object: every writable member is required.".to_owned());
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

/// The name of the object that `T` creates or changes.
fn noun<T: ToSchema>() -> String {
    T::name().trim_start_matches("New").trim_end_matches("Changes").to_owned()
}

/// Whether a POST of `T` asks for something else than a new object.
fn is_request<T: ToSchema>() -> bool {
    T::name().ends_with("Request")
}

/// The members that a body can contain: those that are read and those that have no effect.
fn input<T: Input + ToSchema>() -> Object {
    let mut object = object::<T>();
    for name in T::READ_ONLY {
        let ignored = ObjectBuilder::new()
            .schema_type(SchemaType::AnyValue)
            .description(Some("Read only: can be sent back as it was returned, without effect."));
        object.properties.insert((*name).to_owned(), Schema::Object(ignored.build()).into());
    }
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    object
}

/// An object that a response can contain in part.
pub trait Viewed: ToSchema {
    /// The schema of its owner, for `with_related`: the name of the whole, the name of a part, and
    /// both with all schemas that they refer to.
    fn owner() -> Option<(Cow<'static, str>, String, Schemas)> {
        None
    }
}

impl<R: Resource + ToSchema> Viewed for R {
    fn owner() -> Option<(Cow<'static, str>, String, Schemas)> {
        R::shows_owner().then(|| {
            let mut schemas = Schemas::new();
            View::<R::Owner>::schemas(&mut schemas);
            (R::Owner::name(), partial_name::<R::Owner>(), schemas)
        })
    }
}

impl Viewed for HistoryEntry {}

fn partial_name<T: ToSchema>() -> String {
    format!("Partial{}", T::name())
}

/// The alternatives of a view: the whole with its owner, the whole, and a part. The one with the
/// most required members is first, since generated clients use the first that fits.
fn alternatives<T: Viewed>() -> (Vec<String>, Schemas) {
    let (mut names, mut schemas) = (Vec::new(), Schemas::new());
    T::schemas(&mut schemas);
    let mut part = object::<T>();
    part.required.clear();
    part.description = Some("The selected members.".to_owned());
    part.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    if let Some((owner, partial_owner, owner_schemas)) = T::owner() {
        schemas.extend(owner_schemas);
        let mut with_owner = object::<T>();
        with_owner.description =
            Some("The object with its owner (`with_related=true`).".to_owned());
        with_owner.required.push("partner".to_owned());
        let owner = Ref::from_schema_name(owner);
        with_owner.properties.insert("partner".to_owned(), owner.into());
        let partial_owner = Ref::from_schema_name(partial_owner);
        part.properties.insert("partner".to_owned(), partial_owner.into());
        names.push(format!("{}WithPartner", T::name()));
        schemas.push((names[0].clone(), Schema::Object(with_owner).into()));
    }
    names.extend([T::name().into_owned(), partial_name::<T>()]);
    schemas.push((T::name().into_owned(), T::schema()));
    schemas.push((partial_name::<T>(), Schema::Object(part).into()));
    (names, schemas)
}

/// The whole `T`, or what `with_related`, `include_fields` and `exclude_fields` ask for.
impl<T: Viewed> PartialSchema for View<T> {
    fn schema() -> RefOr<Schema> {
        let (names, _) = alternatives::<T>();
        let items = names.into_iter().map(|name| Ref::from_schema_name(name).into()).collect();
        Schema::AnyOf(AnyOf { items, ..AnyOf::default() }).into()
    }
}

impl<T: Viewed> ToSchema for View<T> {
    fn name() -> Cow<'static, str> {
        format!("{}View", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        schemas.extend(alternatives::<T>().1);
    }
}

/// The envelope with views as its items.
impl<T: Viewed> PartialSchema for List<T> {
    fn schema() -> RefOr<Schema> {
        Envelope::<View<T>>::schema()
    }
}

impl<T: Viewed> ToSchema for List<T> {
    fn name() -> Cow<'static, str> {
        format!("{}List", T::name()).into()
    }

    fn schemas(schemas: &mut Schemas) {
        Envelope::<View<T>>::schemas(schemas);
        schemas.push((View::<T>::name().into_owned(), View::<T>::schema()));
        View::<T>::schemas(schemas);
    }
}

/// The documented members of `T`, including those of objects that are flattened into it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_a_history_entry_can_be_selected() {
        let members = object::<HistoryEntry>().properties;
        assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), HistoryEntry::MEMBERS);
    }
}
