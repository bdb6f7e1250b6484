//! The reference pages, made from the definitions of the command line.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory as _};

use super::Cli;
use crate::settings::CREDENTIALS;

const GENERATED: &str =
    "<!-- Made from the program's own definitions; cargo xtask gen writes it anew. -->\n";

/// `docs/reference/configuration.md`: every setting of the daemon.
pub fn configuration() -> String {
    let mut page = format!(
        "{GENERATED}\n# Configuration\n\nWhat differs by process is a flag of `gatewright run`. What \
         differs by gateway stands in the objects\nthemselves. Credentials come from the environment \
         alone. The configuration that took effect is\nlogged once at start and shown at \
         `/settings` of the admin page, secrets masked.\n"
    );
    let cli = Cli::command();
    let Some(run) = cli.find_subcommand("run") else {
        return page;
    };
    let shown: Vec<&Arg> = run
        .get_arguments()
        .chain(cli.get_arguments())
        .filter(|arg| is_setting(arg))
        .collect();
    let mut headings: Vec<&str> = Vec::new();
    for heading in shown.iter().filter_map(|arg| arg.get_help_heading()) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    for heading in headings {
        section(&mut page, heading);
        for arg in shown
            .iter()
            .filter(|arg| arg.get_help_heading() == Some(heading))
        {
            row(&mut page, arg);
        }
    }
    page.push_str("\n## Credentials\n\n| Variable | Meaning |\n|---|---|\n");
    for setting in CREDENTIALS {
        line(
            &mut page,
            format_args!("| `{}` | {} |", setting.name, setting.meaning),
        );
    }
    let hidden: Vec<&Arg> = run
        .get_arguments()
        .filter(|arg| arg.is_hide_set())
        .collect();
    section(&mut page, "For laptops and tests");
    for arg in hidden {
        row(&mut page, arg);
    }
    page
}

/// `docs/reference/command-line.md`: the help of every command.
pub fn command_line() -> String {
    let mut page = format!("{GENERATED}\n# Command line\n");
    let mut cli = Cli::command().term_width(100);
    // Fills in what a parse would: the global flags, and the names with which usage lines begin.
    cli.build();
    help(&mut page, &mut cli.clone(), "gatewright");
    for command in cli
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
    {
        let name = format!("gatewright {}", command.get_name());
        // The same for all; the program's own help has them.
        let mut own = command.clone();
        for global in ["log", "log_format"] {
            own = own.mut_arg(global, |arg| arg.hide(true));
        }
        help(&mut page, &mut own, &name);
    }
    page
}

fn help(page: &mut String, command: &mut Command, name: &str) {
    let text = command.render_long_help().to_string();
    let text: Vec<&str> = text.lines().map(str::trim_end).collect();
    line(
        page,
        format_args!(
            "\n## {name}\n\n```text\n{}\n```",
            text.join("\n").trim_end()
        ),
    );
}

fn section(page: &mut String, heading: &str) {
    line(
        page,
        format_args!("\n## {heading}\n\n| Flag | Default | Meaning |\n|---|---|---|"),
    );
}

fn row(page: &mut String, arg: &Arg) {
    let Some(flag) = arg.get_long() else { return };
    let value = arg.get_value_names().and_then(|names| names.first());
    let choices: Vec<String> = arg
        .get_possible_values()
        .iter()
        .map(|choice| match choice.get_help() {
            Some(help) => format!(
                "`{}`: {}",
                choice.get_name(),
                lower_first(&help.to_string())
            ),
            None => format!("`{}`", choice.get_name()),
        })
        .collect();
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    // Where the default depends on something, the text itself tells it in clap's own form.
    let (mut meaning, told) = match help.split_once(" [default: ") {
        Some((meaning, default)) => (
            meaning.to_owned(),
            Some(default.trim_end_matches(']').to_owned()),
        ),
        None => (help, None),
    };
    if !choices.is_empty() {
        meaning = format!("{meaning}. {}", choices.join("; "));
    }
    let default = arg
        .get_default_values()
        .first()
        .map(|value| value.to_string_lossy().into_owned());
    let default = default
        .map(|value| format!("`{value}`"))
        .or(told)
        .unwrap_or_default();
    let flag = match value.filter(|_| choices.is_empty()) {
        Some(value) => format!("`--{flag} {value}`"),
        None => format!("`--{flag}`"),
    };
    line(page, format_args!("| {flag} | {default} | {meaning} |"));
}

/// Whether `arg` is a setting and not one of clap's own flags.
fn is_setting(arg: &Arg) -> bool {
    arg.get_help_heading().is_some() && !arg.is_hide_set()
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(letters).collect()
    })
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    writeln!(page, "{text}").ok();
}
