//! Views: objects as a response contains them, with the owner or with some of their members.

use std::collections::HashMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterIn};
use uuid::Uuid;

use super::arguments::{Arguments, flag};
use super::fields::{FieldArguments, Selection};
use crate::auth::Actor;
use crate::error::ApiError;
use crate::store::list::PageSize;
use crate::store::{Listed, Representation, Resource, Store};

/// A `T` as a response contains it: whole, with its owner, or the selected members.
#[derive(Serialize)]
#[serde(transparent, bound = "")]
pub struct View<T> {
    text: Box<RawValue>,
    #[serde(skip)]
    object: PhantomData<T>,
}

impl<T> View<T> {
    /// The view with this JSON text.
    pub(super) fn of(text: Box<RawValue>) -> Self {
        Self { text, object: PhantomData }
    }

    /// The view that serializes like `value`.
    pub(super) fn new(value: &impl Serialize) -> Result<Self, ApiError> {
        let text = to_raw_value(value).map_err(|error| ApiError::Internal(error.into()))?;
        Ok(Self::of(text))
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
        let with_related = with_related && R::shows_owner();
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

    /// The nested members that the view does not show.
    pub fn omitted(&self) -> Vec<&'static str> {
        R::nested_members().filter(|name| !self.selection.includes(name)).collect()
    }

    /// Returns the view of an object.
    pub async fn of_one(
        &self,
        store: &Store<R>,
        actor: &Actor,
        object: Representation,
    ) -> Result<View<R>, ApiError> {
        let Representation { partner_sid, members } = object;
        let owners = self.owners(store, actor, vec![partner_sid]).await?;
        self.select(members, partner_sid, &owners)
    }

    /// Returns the views of the objects of a page. Each is parsed and written one at a time.
    pub async fn of_page(
        &self,
        store: &Store<R>,
        actor: &Actor,
        objects: Vec<Listed>,
    ) -> Result<Vec<View<R>>, ApiError> {
        if self.is_plain() {
            return Ok(objects.into_iter().map(|object| View::of(object.text)).collect());
        }
        let sids = objects.iter().map(|object| object.partner_sid).collect();
        let owners = self.owners(store, actor, sids).await?;
        // The owners can be larger than the objects.
        let (mut views, mut size) = (Vec::with_capacity(objects.len()), PageSize::default());
        for Listed { partner_sid, text, .. } in objects {
            let members = serde_json::from_str(text.get());
            let members = members.map_err(|error| ApiError::Internal(error.into()))?;
            let view = self.select(members, partner_sid, &owners)?;
            size.add(view.text.get().len())?;
            views.push(view);
            tokio::task::yield_now().await;
        }
        Ok(views)
    }

    fn select(
        &self,
        mut members: Map<String, Value>,
        partner_sid: Uuid,
        owners: &HashMap<Uuid, Value>,
    ) -> Result<View<R>, ApiError> {
        if self.with_related {
            let owner = owners.get(&partner_sid).cloned();
            members.insert("partner".to_owned(), owner.unwrap_or(Value::Null));
        }
        // An owner that the object does not show by itself.
        if self.selection.names(R::OWNER) && R::is_owned() {
            members.entry(R::OWNER).or_insert_with(|| partner_sid.to_string().into());
        }
        View::new(&self.selection.apply(members))
    }

    /// The owners of these sids, if the view shows them.
    async fn owners(
        &self,
        store: &Store<R>,
        actor: &Actor,
        mut sids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, Value>, ApiError> {
        if !self.with_related {
            return Ok(HashMap::new());
        }
        sids.sort();
        sids.dedup();
        let owners = store.owners(actor, &sids).await?.into_iter();
        let members = |owner: R::Owner| Ok((owner.sid(), owner.representation()?.members.into()));
        owners.map(members).collect()
    }
}
