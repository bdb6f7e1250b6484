//! The functions that Kubernetes adds to CEL (`k8s.io/apiserver/pkg/cel/library`): URLs, addresses, quantities, lists, regular
//! expressions, formats and sets.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use cel::common::types::{DYN_TYPE, LIST_TYPE, STRING_TYPE, Type};
use cel::common::value::CowVal;
use cel::objects::{Opaque, OptionalValue};
use cel::{Context, DeclarationError, Env, ExecutionError, FunctionContext, Value, extensions};

use super::Quantity;
use super::cel_types::{Cidr, Ip, Semver, Url, arguments, wrap};
use super::formats;
use crate::builtin::names;

type Outcome = Result<Value, ExecutionError>;

/// The environment rules are compiled in.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(environment()));

/// The context whose children rules run in.
pub(super) static ROOT: LazyLock<Context<'static, 'static>> = LazyLock::new(|| {
    let mut context = Context::with_env(Arc::clone(&ENV));
    for name in FUNCTIONS {
        let function = move |call: &FunctionContext| -> Outcome {
            let values = arguments(call)?;
            dispatch(name, &values)
        };
        // A name that the standard library has keeps its standard meaning.
        if context.add_function(name, function).is_err() {
            tracing::debug!(name, "CEL function is already declared");
        }
    }
    context
});

const FUNCTIONS: [&str; 42] = [
    "isURL",
    "url",
    "getScheme",
    "getHost",
    "getHostname",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "isQuantity",
    "quantity",
    "sign",
    "isInteger",
    "asInteger",
    "asApproximateFloat",
    "add",
    "sub",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "isIP",
    "ip",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "isCIDR",
    "cidr",
    "containsIP",
    "containsCIDR",
    "prefixLength",
    "masked",
    "isSemver",
    "semver",
    "major",
    "minor",
    "isSorted",
    "find",
    "findAll",
    "sum",
    "validate",
];

fn environment() -> Env {
    let mut env = Env::stdlib();
    if let Err(error) = extend(&mut env) {
        tracing::error!(%error, "cannot extend the CEL environment");
    }
    env
}

fn extend(env: &mut Env) -> Result<(), DeclarationError> {
    env.add_extension(extensions::strings)?;
    env.add_extension(extensions::lists)?;
    env.add_member_overload("indexOf", "list_index_of", LIST_TYPE, vec![DYN_TYPE], |a| {
        position(&a, false)
    })?;
    env.add_member_overload(
        "lastIndexOf",
        "list_last_index_of",
        LIST_TYPE,
        vec![DYN_TYPE],
        |a| position(&a, true),
    )?;
    for (name, id) in [("min", "list_min"), ("max", "list_max")] {
        let op: cel::common::functions::Function = if name == "min" {
            |a| extreme(&a, Ordering::Less)
        } else {
            |a| extreme(&a, Ordering::Greater)
        };
        env.add_member_overload(name, id, LIST_TYPE, vec![], op)?;
    }
    env.add_overload(
        "sets.contains",
        "sets_contains",
        vec![LIST_TYPE, LIST_TYPE],
        |a| sets(&a, |left, right| right.iter().all(|v| left.contains(v))),
    )?;
    env.add_overload(
        "sets.intersects",
        "sets_intersects",
        vec![LIST_TYPE, LIST_TYPE],
        |a| sets(&a, |left, right| right.iter().any(|v| left.contains(v))),
    )?;
    env.add_overload(
        "sets.equivalent",
        "sets_equivalent",
        vec![LIST_TYPE, LIST_TYPE],
        |a| {
            sets(&a, |left, right| {
                right.iter().all(|v| left.contains(v)) && left.iter().all(|v| right.contains(v))
            })
        },
    )?;
    env.add_overload(
        "ip.isCanonical",
        "ip_is_canonical",
        vec![STRING_TYPE],
        |a| {
            let text = string(&value(&a, 0)?)?;
            let parsed = Ip::parse(&text).map_err(|e| failed("ip.isCanonical", &e))?;
            own(Value::Bool(parsed.0.to_string() == *text))
        },
    )?;
    for name in FORMATS {
        env.add_overload(name, name, vec![], FORMAT_FUNCTIONS[index_of(name)])?;
    }
    env.add_overload("format.named", "format_named", vec![STRING_TYPE], |a| {
        let text = string(&value(&a, 0)?)?;
        let known = FORMATS
            .iter()
            .find(|f| f.strip_prefix("format.") == Some(text.as_str()));
        own(wrap(match known {
            Some(name) => OptionalValue::of(wrap(Format(name))),
            None => OptionalValue::none(),
        }))
    })?;
    for (id, type_name) in [("ip_to_string", "net.IP"), ("cidr_to_string", "net.CIDR")] {
        env.add_overload("string", id, vec![Type::new_opaque_type(type_name)], |a| {
            let text = match value(&a, 0)? {
                Value::Opaque(o) => o
                    .downcast_ref::<Ip>()
                    .map(|ip| ip.0.to_string())
                    .or_else(|| o.downcast_ref::<Cidr>().map(ToString::to_string)),
                _ => None,
            };
            own(Value::from(text.unwrap_or_default()))
        })?;
    }
    Ok(())
}

const FORMATS: [&str; 8] = [
    "format.dns1123Label",
    "format.dns1123Subdomain",
    "format.dns1035Label",
    "format.qualifiedName",
    "format.labelValue",
    "format.uri",
    "format.uuid",
    "format.byte",
];

/// One function a format, since an overload is a plain function that captures nothing.
const FORMAT_FUNCTIONS: [cel::common::functions::Function; 8] = [
    |_| own(wrap(Format(FORMATS[0]))),
    |_| own(wrap(Format(FORMATS[1]))),
    |_| own(wrap(Format(FORMATS[2]))),
    |_| own(wrap(Format(FORMATS[3]))),
    |_| own(wrap(Format(FORMATS[4]))),
    |_| own(wrap(Format(FORMATS[5]))),
    |_| own(wrap(Format(FORMATS[6]))),
    |_| own(wrap(Format(FORMATS[7]))),
];

fn index_of(name: &str) -> usize {
    FORMATS.iter().position(|f| *f == name).unwrap_or_default()
}

/// A named format, which `validate` checks a string against.
#[derive(Debug, PartialEq, Eq)]
struct Format(&'static str);

impl Opaque for Format {
    fn runtime_type_name(&self) -> &'static str {
        "kubernetes.NamedFormat"
    }
}

fn own<'b, 'v>(value: Value) -> Result<CowVal<'b, 'v>, ExecutionError> {
    Ok(CowVal::Owned(value.try_into()?))
}

fn value(args: &[CowVal<'_, '_>], i: usize) -> Outcome {
    match args.get(i) {
        Some(value) => Value::try_from(&**value),
        None => Err(ExecutionError::invalid_argument_count(i + 1, args.len())),
    }
}

fn failed(function: &str, problem: &str) -> ExecutionError {
    ExecutionError::function_error(function, problem)
}

fn string(value: &Value) -> Result<Arc<String>, ExecutionError> {
    match value {
        Value::String(s) => Ok(Arc::clone(s)),
        other => Err(mismatch("string", other)),
    }
}

fn mismatch(want: &str, got: &Value) -> ExecutionError {
    ExecutionError::UnexpectedType {
        got: got.type_of().to_string(),
        want: want.to_owned(),
    }
}

fn items(value: &Value) -> Result<Arc<Vec<Value>>, ExecutionError> {
    match value {
        Value::List(items) => Ok(Arc::clone(items)),
        other => Err(mismatch("list", other)),
    }
}

fn int(value: usize) -> Value {
    Value::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

fn position<'b, 'v>(args: &[CowVal<'b, 'v>], last: bool) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = items(&value(args, 0)?)?;
    let wanted = value(args, 1)?;
    let mut found = list
        .iter()
        .enumerate()
        .filter(|(_, v)| **v == wanted)
        .map(|(i, _)| i);
    let found = if last {
        found.next_back()
    } else {
        found.next()
    };
    own(found.map_or(Value::Int(-1), int))
}

fn extreme<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    wanted: Ordering,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let list = items(&value(args, 0)?)?;
    let mut best: Option<&Value> = None;
    for item in list.iter() {
        if best.is_none_or(|b| item.partial_cmp(b) == Some(wanted)) {
            best = Some(item);
        }
    }
    match best {
        Some(best) => own(best.clone()),
        None if wanted == Ordering::Less => Err(failed("min", "min called on empty list")),
        None => Err(failed("max", "max called on empty list")),
    }
}

fn sets<'b, 'v>(
    args: &[CowVal<'b, 'v>],
    holds: fn(&[Value], &[Value]) -> bool,
) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let left = items(&value(args, 0)?)?;
    let right = items(&value(args, 1)?)?;
    own(Value::Bool(holds(&left, &right)))
}

fn opaque<T: 'static>(value: &Value) -> Option<&T> {
    match value {
        Value::Opaque(o) => o.downcast_ref::<T>(),
        _ => None,
    }
}

fn need<'a, T: 'static>(value: &'a Value, want: &str) -> Result<&'a T, ExecutionError> {
    opaque::<T>(value).ok_or_else(|| mismatch(want, value))
}

fn dispatch(name: &str, args: &[Value]) -> Outcome {
    let Some(first) = args.first() else {
        return Err(ExecutionError::missing_argument_or_target());
    };
    match name {
        "isURL" => Ok(Value::Bool(Url::parse(&string(first)?).is_ok())),
        "url" => Url::parse(&string(first)?)
            .map(wrap)
            .map_err(|e| failed(name, &e)),
        "getScheme" | "getHost" | "getHostname" | "getPort" | "getEscapedPath" | "getQuery" => {
            need::<Url>(first, "kubernetes.URL").map(|url| url.part(name))
        }
        "isQuantity" => Ok(Value::Bool(Quantity::parse(&string(first)?).is_ok())),
        "quantity" => Quantity::parse(&string(first)?)
            .map(wrap)
            .map_err(|e| failed(name, &e)),
        "sign" | "isInteger" | "asInteger" | "asApproximateFloat" | "add" | "sub" => {
            quantity(name, first, args.get(1))
        }
        "isGreaterThan" | "isLessThan" | "compareTo" => compare(name, first, args.get(1)),
        "isIP" => Ok(Value::Bool(Ip::parse(&string(first)?).is_ok())),
        "ip" => match opaque::<Cidr>(first) {
            Some(cidr) => Ok(wrap(Ip(cidr.address))),
            None => Ip::parse(&string(first)?)
                .map(wrap)
                .map_err(|e| failed(name, &e)),
        },
        "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast" => need::<Ip>(first, "net.IP").map(|ip| ip.ask(name)),
        "isCIDR" => Ok(Value::Bool(Cidr::parse(&string(first)?).is_ok())),
        "cidr" => Cidr::parse(&string(first)?)
            .map(wrap)
            .map_err(|e| failed(name, &e)),
        "containsIP" | "containsCIDR" | "prefixLength" | "masked" => {
            cidr(name, need::<Cidr>(first, "net.CIDR")?, args.get(1))
        }
        "isSemver" => Ok(Value::Bool(Semver::parse(&string(first)?).is_some())),
        "semver" => Semver::parse(&string(first)?)
            .map(wrap)
            .ok_or_else(|| failed(name, "No Major.Minor.Patch elements found")),
        "major" => need::<Semver>(first, "kubernetes.Semver").map(|v| Value::Int(v.numbers[0])),
        "minor" => need::<Semver>(first, "kubernetes.Semver").map(|v| Value::Int(v.numbers[1])),
        "isSorted" => {
            let list = items(first)?;
            Ok(Value::Bool(list.windows(2).all(|w| {
                w[0].partial_cmp(&w[1]) != Some(Ordering::Greater)
            })))
        }
        "sum" => sum(&items(first)?),
        "find" | "findAll" => find(name, args),
        "validate" => validate(
            need::<Format>(first, "kubernetes.NamedFormat")?,
            args.get(1),
        ),
        _ => Err(ExecutionError::undeclared_reference(name)),
    }
}

fn quantity(name: &str, first: &Value, second: Option<&Value>) -> Outcome {
    let left = *need::<Quantity>(first, "kubernetes.Quantity")?;
    let right = || match second {
        Some(Value::Int(i)) => Ok(Quantity::from_i64(*i)),
        Some(other) => need::<Quantity>(other, "kubernetes.Quantity").copied(),
        None => Err(ExecutionError::invalid_argument_count(2, 1)),
    };
    Ok(match name {
        "sign" => Value::Int(left.sign()),
        "isInteger" => Value::Bool(left.as_integer().is_some()),
        "asInteger" => Value::Int(
            left.as_integer()
                .ok_or_else(|| failed(name, "cannot convert value to integer"))?,
        ),
        "asApproximateFloat" => Value::Float(left.as_float()),
        "add" => wrap(left.plus(right()?)),
        _ => wrap(left.minus(right()?)),
    })
}

fn compare(name: &str, first: &Value, second: Option<&Value>) -> Outcome {
    let second = second.ok_or_else(|| ExecutionError::invalid_argument_count(2, 1))?;
    let ordering =
        if let (Some(left), Some(right)) = (opaque::<Semver>(first), opaque::<Semver>(second)) {
            left.compare(right)
        } else {
            let left = need::<Quantity>(first, "kubernetes.Quantity")?;
            left.cmp(need::<Quantity>(second, "kubernetes.Quantity")?)
        };
    Ok(match name {
        "isGreaterThan" => Value::Bool(ordering == Ordering::Greater),
        "isLessThan" => Value::Bool(ordering == Ordering::Less),
        _ => Value::Int(ordering as i64),
    })
}

fn cidr(name: &str, cidr: &Cidr, second: Option<&Value>) -> Outcome {
    let argument = || second.ok_or_else(|| ExecutionError::invalid_argument_count(2, 1));
    Ok(match name {
        "prefixLength" => Value::Int(i64::from(cidr.bits)),
        "masked" => wrap(cidr.masked()),
        "containsIP" => {
            let second = argument()?;
            let address: IpAddr = match opaque::<Ip>(second) {
                Some(ip) => ip.0,
                None => Ip::parse(&string(second)?).map_err(|e| failed(name, &e))?.0,
            };
            Value::Bool(cidr.contains(address))
        }
        _ => {
            let second = argument()?;
            let other = match opaque::<Cidr>(second) {
                Some(other) => other.clone(),
                None => Cidr::parse(&string(second)?).map_err(|e| failed(name, &e))?,
            };
            Value::Bool(cidr.bits <= other.bits && cidr.contains(other.address))
        }
    })
}

fn sum(list: &[Value]) -> Outcome {
    let mut total: Option<Value> = None;
    for item in list {
        total = Some(match (total, item) {
            (None, item) => item.clone(),
            (Some(Value::Int(a)), Value::Int(b)) => Value::Int(
                a.checked_add(*b)
                    .ok_or_else(|| failed("sum", "integer overflow"))?,
            ),
            (Some(Value::Float(a)), Value::Float(b)) => Value::Float(a + b),
            (Some(Value::UInt(a)), Value::UInt(b)) => Value::UInt(a.saturating_add(*b)),
            (Some(Value::Duration(a)), Value::Duration(b)) => Value::Duration(a + *b),
            (_, other) => return Err(mismatch("number", other)),
        });
    }
    Ok(total.unwrap_or(Value::Int(0)))
}

fn find(name: &str, args: &[Value]) -> Outcome {
    let [text, pattern, rest @ ..] = args else {
        return Err(ExecutionError::invalid_argument_count(2, args.len()));
    };
    let (text, pattern) = (string(text)?, string(pattern)?);
    let regex =
        formats::go_regex(&pattern).map_err(|e| failed(name, &format!("Illegal regex: {e}")))?;
    let mut found = regex.find_iter(&text).map(|m| m.as_str());
    if name == "find" {
        return Ok(Value::from(found.next().unwrap_or_default()));
    }
    let limit = match rest.first() {
        Some(Value::Int(limit)) => usize::try_from(*limit).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    Ok(Value::List(Arc::new(
        found.take(limit).map(Value::from).collect(),
    )))
}

/// `none` when the text fits the format, else the messages.
fn validate(format: &Format, text: Option<&Value>) -> Outcome {
    let text = string(text.unwrap_or(&Value::Null))?;
    let problems: Vec<String> = match format.0 {
        "format.dns1123Label" => names::dns1123_label(&text),
        "format.dns1123Subdomain" => names::dns1123_subdomain(&text),
        "format.dns1035Label" => names::dns1035_label(&text),
        "format.qualifiedName" => names::qualified_name(&text),
        "format.labelValue" => names::label_value(&text),
        other => {
            let name = other.trim_start_matches("format.");
            if formats::matches(name, &text) {
                Vec::new()
            } else {
                vec![format!("invalid {name}")]
            }
        }
    };
    Ok(wrap(if problems.is_empty() {
        OptionalValue::none()
    } else {
        OptionalValue::of(Value::List(Arc::new(
            problems.into_iter().map(Value::from).collect(),
        )))
    }))
}
