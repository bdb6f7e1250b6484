use std::time::Duration;

use clap::{Args as _, Command, FromArgMatches as _};
use gatewright_aliyun::Credentials;

use super::*;

fn command() -> Command {
    Settings::augment_args(Command::new("test"))
}

fn parse(args: &[&str]) -> Result<Settings, clap::Error> {
    let args = std::iter::once("test").chain(args.iter().copied());
    Settings::from_arg_matches(&command().try_get_matches_from(args)?)
}

#[test]
fn defaults_are_those_of_the_reference() {
    let settings = parse(&[]).unwrap();
    let config = settings.config();
    assert_eq!(config.namespace, "gatewright-system");
    assert_eq!(
        config.xds_address,
        ("gatewright.gatewright-system.svc".into(), 15012)
    );
    assert_eq!(
        config.challenge_address,
        ("gatewright.gatewright-system.svc".into(), 8089)
    );
    assert_eq!(config.audit_interval, Duration::from_mins(30));
    assert!(config.manage_certificates);
    assert!(config.proxy_image.starts_with("gatewright/proxy:"));
    assert_eq!(
        (settings.cluster_name.as_str(), settings.region.as_str()),
        ("default", "cn-hangzhou")
    );
    assert_eq!(settings.xds_listen, "0.0.0.0:15012".parse().unwrap());
    assert_eq!(settings.challenge_listen, "0.0.0.0:8089".parse().unwrap());
    assert_eq!(settings.admin_listen, "127.0.0.1:8088".parse().unwrap());
    let network = settings.network();
    assert_eq!(
        (network.pods, network.port_shift),
        (AddressMap::Identity, 0)
    );
}

#[test]
fn the_daemons_addresses_follow_its_namespace_unless_given() {
    let settings = parse(&["--namespace", "edge", "--xds-address", "10.0.0.1:1"]).unwrap();
    assert_eq!(settings.xds_address().to_string(), "10.0.0.1:1");
    assert_eq!(
        settings.challenge_address().to_string(),
        "gatewright.edge.svc:8089"
    );
    assert!(
        !parse(&["--certificates", "consume"])
            .unwrap()
            .config()
            .manage_certificates
    );
}

#[test]
fn a_bad_value_is_refused_and_its_flag_named() {
    for (flag, value) in [
        ("--audit-interval", "0s"),
        ("--xds-address", "nowhere"),
        ("--xds-listen", "15012"),
        ("--certificates", "maybe"),
        ("--cloud-endpoint", "not a url"),
    ] {
        let error = parse(&[flag, value]).unwrap_err().to_string();
        assert!(error.contains(flag), "{error}");
    }
}

#[test]
fn the_effective_configuration_has_every_setting_and_no_secret() {
    let settings = parse(&[]).unwrap();
    let mut held = Credentials::new("LTAI-id-hunter1", "secret-hunter2");
    held.security_token = Some("token-hunter3".to_owned().into());
    let effective = Effective::of(&settings, Some(&held));
    let names: Vec<_> = effective.iter().map(|(name, _)| name).collect();
    let command = command();
    let flags = command.get_arguments().filter_map(|arg| arg.get_long());
    let expected: Vec<_> = flags
        .chain(CREDENTIALS.iter().map(|setting| setting.name))
        .collect();
    assert_eq!(names, expected);
    let text = effective.to_string();
    assert!(!text.contains("hunter"), "{text}");
    assert_eq!(text.matches("[secret]").count(), 3);
    let none = Effective::of(&settings, None).to_string();
    assert!(
        none.contains("ALIBABA_CLOUD_ACCESS_KEY_SECRET=(not set)"),
        "{none}"
    );
}
