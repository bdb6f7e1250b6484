use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("gatewright").chain(line.split_whitespace()))
}

fn refused(line: &str) -> ErrorKind {
    parse(line).unwrap_err().kind()
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_says_what_it_does_in_one_line_and_shows_examples() {
    for command in Cli::command().get_subcommands() {
        let about = command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(
            !about.is_empty() && !about.contains('\n'),
            "{}",
            command.get_name()
        );
        assert!(about.len() <= 96 && !about.ends_with('.'), "{about}");
        let after = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(after.contains("Examples:\n"), "{}", command.get_name());
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(!help.is_empty(), "{} {}", command.get_name(), arg.get_id());
        }
    }
}

#[test]
fn the_examples_in_the_help_are_taken() {
    let cli = Cli::command();
    let texts = cli.get_subcommands().chain([&cli]);
    let texts: Vec<String> = texts
        .filter_map(clap::Command::get_after_help)
        .map(ToString::to_string)
        .collect();
    let joined = texts.join("\n").replace("\\\n      ", "");
    let mut tried = 0;
    for line in joined
        .lines()
        .filter_map(|line| line.trim().strip_prefix("gatewright "))
    {
        let end = [" | ", " || ", " > ", "   "]
            .iter()
            .filter_map(|end| line.find(end))
            .min();
        let line = &line[..end.unwrap_or(line.len())];
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        tried += 1;
    }
    assert!(tried > 15, "{tried}");
}

#[test]
fn a_rotation_needs_to_be_told_which() {
    assert_eq!(refused("rotate"), ErrorKind::MissingRequiredArgument);
    assert_eq!(refused("rotate shop --all"), ErrorKind::ArgumentConflict);
    assert_eq!(refused("rotate --all -A -n x"), ErrorKind::ArgumentConflict);
    assert!(parse("rotate shop api -n istio-system --timeout 90s").is_ok());
    assert!(parse("rotate --due --all-namespaces").is_ok());
}

#[test]
fn a_plan_needs_files() {
    assert_eq!(refused("plan"), ErrorKind::MissingRequiredArgument);
    assert!(parse("plan -f a -f b -o json").is_ok());
}

#[test]
fn credentials_are_no_flags() {
    assert_eq!(refused("run --access-key-id x"), ErrorKind::UnknownArgument);
    let help = Cli::command()
        .find_subcommand_mut("run")
        .unwrap()
        .render_long_help()
        .to_string();
    assert!(help.contains("ALIBABA_CLOUD_ACCESS_KEY_ID"), "{help}");
}

#[test]
fn the_log_suits_the_command_unless_told() {
    assert_eq!(parse("run").unwrap().filter(), "info,kube_runtime=warn");
    assert_eq!(parse("dev").unwrap().filter(), "warn");
    assert_eq!(parse("status").unwrap().filter(), "warn");
    assert_eq!(parse("status --log debug").unwrap().filter(), "debug");
    assert_eq!(parse("--log debug status").unwrap().filter(), "debug");
}

#[test]
fn a_filter_that_the_log_does_not_understand_is_refused() {
    assert_eq!(refused("status --log a=b=c"), ErrorKind::ValueValidation);
}

#[test]
fn a_proxy_takes_what_the_pods_say() {
    // The arguments of the container in `gateway/children.rs`.
    let line = "proxy --config /etc/gatewright/bootstrap/envoy.json --node istio-system/g/pod-0 \
                --cluster istio-g --drain-seconds 30";
    assert!(parse(line).is_ok());
}
