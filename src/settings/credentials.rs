//! The access key, from the environment.

use gatewright_aliyun::Credentials;
use gatewright_core::Secret;

/// A setting that is read from the environment only.
#[derive(Clone, Copy, Debug)]
pub struct EnvironmentSetting {
    pub name: &'static str,
    pub meaning: &'static str,
}

const KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

/// The variables, named as the official SDKs name them.
pub const CREDENTIALS: [EnvironmentSetting; 3] = [
    EnvironmentSetting {
        name: KEY_ID,
        meaning: "Id of the access key. Without one, load balancers are off",
    },
    EnvironmentSetting {
        name: KEY_SECRET,
        meaning: "Secret of the access key",
    },
    EnvironmentSetting {
        name: TOKEN,
        meaning: "Token of a temporary access key",
    },
];

/// The environment holds half a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("reading the access key from the environment: {missing} is not set, {set} is")]
pub struct CredentialsError {
    pub missing: &'static str,
    pub set: &'static str,
}

/// The access key that the environment holds. `read` looks a variable up; an empty one counts as
/// not set.
///
/// # Errors
/// One half of the key is there without the other.
pub fn credentials(
    read: impl Fn(&str) -> Option<String>,
) -> Result<Option<Credentials>, CredentialsError> {
    let read = |name: &str| {
        read(name)
            .filter(|value| !value.is_empty())
            .map(Secret::new)
    };
    match (read(KEY_ID), read(KEY_SECRET), read(TOKEN)) {
        (Some(access_key_id), Some(access_key_secret), security_token) => Ok(Some(Credentials {
            access_key_id,
            access_key_secret,
            security_token,
        })),
        (Some(_), None, _) => Err(CredentialsError {
            missing: KEY_SECRET,
            set: KEY_ID,
        }),
        (None, Some(_), _) => Err(CredentialsError {
            missing: KEY_ID,
            set: KEY_SECRET,
        }),
        (None, None, Some(_)) => Err(CredentialsError {
            missing: KEY_ID,
            set: TOKEN,
        }),
        (None, None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(held: &[(&str, &str)]) -> Result<Option<Credentials>, CredentialsError> {
        credentials(|name| {
            let found = held.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_key_is_whole_or_absent() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&[(KEY_ID, ""), (KEY_SECRET, "")]).unwrap().is_none());
        let key = read(&[(KEY_ID, "id"), (KEY_SECRET, "hunter2")])
            .unwrap()
            .unwrap();
        assert_eq!(key.access_key_secret.expose(), "hunter2");
        assert!(!format!("{key:?}").contains("hunter2"));
        assert_eq!(read(&[(KEY_ID, "id")]).unwrap_err().missing, KEY_SECRET);
        assert_eq!(read(&[(KEY_SECRET, "s")]).unwrap_err().missing, KEY_ID);
        assert_eq!(read(&[(TOKEN, "t")]).unwrap_err().missing, KEY_ID);
    }
}
