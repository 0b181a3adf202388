//! Forwards events to one URL of the operator's choice, without an endpoint.

use super::address::AddressRules;
use super::client::DeliveryClient;
use super::delivery::DeliveryAttempt;
use super::event;
use super::keys::{Secret, SigningKeys};
use super::signature::Signer;
use crate::error::ApiError;
use crate::events::Event;
use crate::input::types::CallbackUrl;

/// Delivers events to a URL, signed with one secret. Private addresses are permitted, because the
/// operator has named the URL.
pub struct Forwarder {
    client: DeliveryClient,
    signer: Signer,
    url: CallbackUrl,
}

impl Forwarder {
    /// Returns a forwarder to the URL.
    ///
    /// # Errors
    /// If the trusted certificates of the machine cannot be read.
    pub fn new(url: CallbackUrl, secret: Secret) -> anyhow::Result<Self> {
        let client = DeliveryClient::new(AddressRules::allowing_all())?;
        let keys = SigningKeys { secret, seed: None };
        let signer = Signer::new(std::iter::once(&keys)).map_err(anyhow::Error::new)?;
        Ok(Self { client, signer, url })
    }

    /// Delivers the event once.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if the event cannot be written as JSON.
    pub async fn forward(&self, event: Event) -> Result<DeliveryAttempt, ApiError> {
        let message = event::message(event)?.message;
        Ok(self.client.send(self.url.as_str(), &self.signer, &message).await.into())
    }
}
