//! Views: objects as a response contains them, with the owner or with some of their members.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};

use super::arguments::{Arguments, flag};
use super::fields::{FieldArguments, Selection};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::{Representation, Resource, Store};

/// A `T` as a response contains it: whole, with its owner, or the selected members.
#[derive(Serialize)]
#[serde(transparent, bound = "")]
pub struct View<T> {
    members: Map<String, Value>,
    #[serde(skip)]
    object: PhantomData<T>,
}

impl<T> View<T> {
    pub(super) fn new(members: Map<String, Value>) -> Self {
        Self { members, object: PhantomData }
    }
}

/// The argument that asks for the owner.
#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct RelatedArguments {
    /// Whether to add the member `partner`, the owner.
    #[serde(deserialize_with = "flag")]
    with_related: bool,
}

/// The part of a request that chooses a view of objects of type `R`.
pub(super) struct ViewRequest<R> {
    selection: Selection,
    with_related: bool,
    resource: PhantomData<R>,
}

impl<R> IntoParams for ViewRequest<R> {
    fn into_params(parameter_in: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let related = RelatedArguments::into_params(&parameter_in);
        [related, FieldArguments::into_params(&parameter_in)].concat()
    }
}

impl<R: Resource> ViewRequest<R> {
    /// Reads the part from the arguments of a request.
    pub fn of(arguments: &Arguments) -> Result<Self, ApiError> {
        let RelatedArguments { with_related } = arguments.read()?;
        let with_related = with_related && R::is_owned();
        let is_known = |name: &str| {
            let related = name.strip_prefix("partner").map(|key| key.strip_prefix('.'));
            R::shows(name)
                || (with_related && related.is_some_and(|key| key.is_none_or(R::Owner::shows)))
        };
        let selection = arguments.read::<FieldArguments>()?.selection(is_known)?;
        Ok(Self { selection, with_related, resource: PhantomData })
    }

    /// Whether the view is the object as it is stored, with all members and nothing else.
    pub fn is_plain(&self) -> bool {
        self.selection.is_everything() && !self.with_related
    }

    /// Returns the views of these objects.
    pub async fn apply(
        &self,
        store: &Store<R>,
        actor: &Actor,
        objects: Vec<Representation>,
    ) -> Result<Vec<View<R>>, ApiError> {
        let mut owners = HashMap::new();
        if self.with_related {
            let mut sids: Vec<_> = objects.iter().map(|object| object.partner_sid).collect();
            sids.sort();
            sids.dedup();
            for owner in store.owners(actor, &sids).await? {
                owners.insert(owner.sid(), Value::Object(owner.representation()?.members));
            }
        }
        let views = objects.into_iter().map(|Representation { partner_sid, mut members }| {
            if self.with_related {
                let owner = owners.get(&partner_sid).cloned();
                members.insert("partner".to_owned(), owner.unwrap_or(Value::Null));
            }
            View::new(self.selection.apply(members))
        });
        Ok(views.collect())
    }
}
