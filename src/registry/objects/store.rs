//! Stores as they are configured, opened when something is first asked of them.
//!
//! Keys come from the configuration; without them from the environment, in the words of each vendor's own tools
//! (`AWS_ACCESS_KEY_ID`, `GOOGLE_APPLICATION_CREDENTIALS`, `AZURE_STORAGE_ACCOUNT_NAME` …), and at last from the machine's
//! metadata service. All of them go through the gateway's one TLS, rustls with ring.
//!
//! Invariant: no text of a store has a key in it, and a store is open once however many models are in it.

use super::address::StoreName;
use super::failure::{Asked, meaning};
use crate::config::{AzureSettings, GcsSettings, ObjectSettings, S3Settings};
use crate::registry::source::SourceError;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Certificate, ClientOptions, ObjectStore, RetryConfig};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most stores that are open at a time: a registry may name any bucket.
const MOST_STORES: usize = 64;
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an answer, or for the next bytes of a file.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts after the first within one look; the next look comes anyway.
const RETRIES: usize = 2;
/// No further attempt begins after so long.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);

/// The stores that models and artifacts can be in.
#[derive(Debug, Default)]
pub struct Stores {
    settings: ObjectSettings,
    open: Mutex<BTreeMap<StoreName, Store>>,
}

/// One store.
#[derive(Clone)]
pub struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) asked: Asked,
    /// Whether what is open can be written over while it is read.
    pub(super) changes_while_open: bool,
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Store").field(&self.asked.place).finish_non_exhaustive()
    }
}

impl Stores {
    /// Stores that are asked as is configured.
    #[must_use]
    pub fn new(settings: ObjectSettings) -> Self {
        Self { settings, open: Mutex::default() }
    }

    /// The store of that name.
    ///
    /// # Errors
    /// [`SourceError::Unexpected`] when it cannot be asked as it is configured.
    pub fn open(&self, name: &StoreName) -> Result<Store, SourceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = open.get(name) {
            return Ok(store.clone());
        }
        let store = self.make(name)?;
        if open.len() >= MOST_STORES {
            open.clear();
        }
        open.insert(name.clone(), store.clone());
        Ok(store)
    }

    fn make(&self, name: &StoreName) -> Result<Store, SourceError> {
        let (table, endpoint) = match name {
            StoreName::S3 { .. } => ("registry.s3", self.settings.s3.endpoint.as_ref()),
            StoreName::Gcs { .. } => ("registry.gcs", self.settings.gcs.endpoint.as_ref()),
            StoreName::Azure { .. } => ("registry.azure", self.settings.azure.endpoint.as_ref()),
            StoreName::Local => ("registry.objects", None),
        };
        let at = endpoint.map(|endpoint| format!(" at {}", endpoint.origin().ascii_serialization()));
        let asked = Asked { place: format!("{name}{}", at.unwrap_or_default()), table };
        let objects: Arc<dyn ObjectStore> = match name {
            StoreName::S3 { bucket } => made(s3(&self.settings.s3, bucket)?.build(), &asked)?,
            StoreName::Gcs { bucket } => made(gcs(&self.settings.gcs, bucket).build(), &asked)?,
            StoreName::Azure { container, account } => {
                made(azure(&self.settings.azure, container, account.as_deref())?.build(), &asked)?
            }
            StoreName::Local => Arc::new(LocalFileSystem::new()),
        };
        Ok(Store { objects, asked, changes_while_open: *name == StoreName::Local })
    }
}

impl Store {
    /// What an error of it means for whoever asked it for `what`.
    pub(super) fn failed(&self, error: &object_store::Error, what: &str) -> SourceError {
        meaning(error, &self.asked, what)
    }

    /// What it answers makes no sense.
    pub(super) fn unexpected(&self, reason: String) -> SourceError {
        SourceError::Unexpected { place: self.asked.place.clone(), reason }
    }

    /// A place in it, for people.
    pub(super) fn name_of(&self, path: &Path) -> String {
        format!("{}/{path}", self.asked.place.split(" at ").next().unwrap_or_default())
    }
}

fn made<T: ObjectStore>(built: object_store::Result<T>, asked: &Asked) -> Result<Arc<dyn ObjectStore>, SourceError> {
    match built {
        Ok(store) => Ok(Arc::new(store)),
        Err(error) => Err(meaning(&error, asked, "the store")),
    }
}

fn s3(settings: &S3Settings, bucket: &str) -> Result<AmazonS3Builder, SourceError> {
    let keys = settings.access_key_id.as_ref().zip(settings.secret_access_key.as_ref());
    let mut builder = match keys {
        // A variable of the environment must not change whose keys are used where.
        Some((id, secret)) => {
            AmazonS3Builder::new().with_access_key_id(id.expose()).with_secret_access_key(secret.expose())
        }
        None => AmazonS3Builder::from_env(),
    };
    if let Some(token) = &settings.session_token {
        builder = builder.with_token(token.expose());
    }
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if settings.anonymous {
        builder = builder.with_skip_signature(true);
    }
    if let Some(endpoint) = &settings.endpoint {
        let address = match (settings.virtual_hosted, endpoint.host_str()) {
            // The library wants the bucket in it then.
            (true, Some(host)) => {
                let mut address = endpoint.clone();
                address.set_host(Some(&format!("{bucket}.{host}"))).map_err(|error| SourceError::Unexpected {
                    place: "registry.s3.endpoint".to_owned(),
                    reason: format!("expected a host that can have the bucket {bucket:?} before it: {error}"),
                })?;
                address
            }
            _ => endpoint.clone(),
        };
        builder = builder.with_endpoint(address.as_str().trim_end_matches('/'));
    }
    let ca_file = settings.ca_file.as_deref();
    let options = options(ca_file)?.with_allow_http(settings.allow_http);
    let builder =
        builder.with_config(AmazonS3ConfigKey::VirtualHostedStyleRequest, settings.virtual_hosted.to_string());
    Ok(builder.with_bucket_name(bucket).with_client_options(options).with_retry(retry()))
}

fn gcs(settings: &GcsSettings, bucket: &str) -> GoogleCloudStorageBuilder {
    let mut builder = match &settings.service_account {
        Some(path) => GoogleCloudStorageBuilder::new().with_service_account_path(path.to_string_lossy()),
        None => GoogleCloudStorageBuilder::from_env(),
    };
    let mut options = plain_options();
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_base_url(endpoint.as_str().trim_end_matches('/'));
        options = options.with_allow_http(endpoint.scheme() == "http");
    }
    if settings.anonymous {
        builder = builder.with_skip_signature(true);
    }
    builder.with_bucket_name(bucket).with_client_options(options).with_retry(retry())
}

fn azure(
    settings: &AzureSettings,
    container: &str,
    account: Option<&str>,
) -> Result<MicrosoftAzureBuilder, SourceError> {
    if let (Some(named), Some(configured)) = (account, &settings.account)
        && named != configured
    {
        let reason = format!("expected the account {configured:?}, whose key is configured, found {named:?}");
        return Err(SourceError::Unexpected { place: "registry.azure.account".to_owned(), reason });
    }
    let mut builder = match &settings.access_key {
        Some(key) => MicrosoftAzureBuilder::new().with_access_key(key.expose()),
        None => MicrosoftAzureBuilder::from_env(),
    };
    if let Some(account) = account.or(settings.account.as_deref()) {
        builder = builder.with_account(account);
    }
    let mut options = plain_options();
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/').to_owned());
        options = options.with_allow_http(endpoint.scheme() == "http");
    }
    if settings.anonymous {
        builder = builder.with_skip_signature(true);
    }
    Ok(builder.with_container_name(container).with_client_options(options).with_retry(retry()))
}

fn retry() -> RetryConfig {
    RetryConfig { max_retries: RETRIES, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() }
}

/// A file takes as long as it takes; what is limited is the wait for its next bytes.
fn plain_options() -> ClientOptions {
    ClientOptions::new().with_timeout_disabled().with_connect_timeout(CONNECT_TIMEOUT).with_read_timeout(READ_TIMEOUT)
}

fn options(ca_file: Option<&std::path::Path>) -> Result<ClientOptions, SourceError> {
    let Some(path) = ca_file else { return Ok(plain_options()) };
    let refused = |reason: String| SourceError::Unexpected {
        place: "registry.s3.ca_file".to_owned(),
        reason: format!("cannot use {}: {reason}", path.display()),
    };
    let pem = std::fs::read(path).map_err(|cause| refused(cause.to_string()))?;
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| refused(error.to_string()))?;
    if certificates.is_empty() {
        return Err(refused("expected certificates in PEM, found none".to_owned()));
    }
    Ok(certificates.into_iter().fold(plain_options(), ClientOptions::with_root_certificate))
}
