use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use super::{Column, Resource, Scale, rows};
use crate::meta;
use crate::schema::{FieldError, Schema};

/// Everything that is served at one moment.
#[derive(Clone, Default)]
pub(crate) struct Kinds {
    all: Vec<Arc<Resource>>,
    /// Group, version, plural to its place in `all`.
    by_path: BTreeMap<(String, String, String), usize>,
    /// Counts changes, so that documents can be cached.
    pub(crate) generation: u64,
}

impl Kinds {
    fn new(all: Vec<Arc<Resource>>, generation: u64) -> Self {
        let key = |r: &Resource| (r.group.clone(), r.version.clone(), r.plural.clone());
        let by_path = all.iter().enumerate().map(|(i, r)| (key(r), i)).collect();
        Self {
            all,
            by_path,
            generation,
        }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let key = (group.to_owned(), version.to_owned(), plural.to_owned());
        self.by_path.get(&key).map(|index| self.all[*index].clone())
    }

    pub(crate) fn all(&self) -> &[Arc<Resource>] {
        &self.all
    }

    /// One resource for each collection: the first version listed.
    pub(crate) fn collections(&self) -> Vec<Arc<Resource>> {
        let mut seen = std::collections::BTreeSet::new();
        self.all
            .iter()
            .filter(|r| seen.insert(r.collection.clone()))
            .cloned()
            .collect()
    }

    pub(crate) fn by_collection(&self, collection: &str) -> Option<Arc<Resource>> {
        self.all
            .iter()
            .find(|r| *r.collection == *collection)
            .cloned()
    }

    /// The versions of `group`, the preferred one first.
    pub(crate) fn versions(&self, group: &str) -> Vec<String> {
        let mut versions: Vec<String> = Vec::new();
        for resource in self.all.iter().filter(|r| r.group == group) {
            if !versions.contains(&resource.version) {
                versions.push(resource.version.clone());
            }
        }
        versions.sort_by(|a, b| version_rank(b).cmp(&version_rank(a)).then_with(|| a.cmp(b)));
        versions
    }

    /// Whether the group is one of the server's own.
    pub(crate) fn is_builtin(&self, group: &str) -> bool {
        self.all.iter().any(|r| r.group == group && !r.custom)
    }

    /// The named groups, in the order of the table, custom ones by name.
    pub(crate) fn groups(&self) -> Vec<String> {
        let mut groups: Vec<String> = Vec::new();
        for resource in &self.all {
            if !resource.group.is_empty() && !groups.contains(&resource.group) {
                groups.push(resource.group.clone());
            }
        }
        groups
    }
}

/// The order of versions that Kubernetes prefers: v2, v1, v1beta2, v1beta1, v1alpha1, then others.
/// <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definition-versioning/#version-priority>
pub(crate) fn version_rank(version: &str) -> (u8, u64, u64) {
    let Some(rest) = version.strip_prefix('v') else {
        return (0, 0, 0);
    };
    let digits = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let Ok(major) = rest[..digits].parse() else {
        return (0, 0, 0);
    };
    let stage = &rest[digits..];
    if stage.is_empty() {
        return (3, major, 0);
    }
    let (rank, minor) = match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
        (Some(minor), _) => (2, minor),
        (_, Some(minor)) => (1, minor),
        _ => return (0, 0, 0),
    };
    minor
        .parse()
        .map_or((0, 0, 0), |minor| (rank, major, minor))
}

/// The served kinds of definitions, by the definition's name.
pub(crate) type CustomKinds = BTreeMap<String, Vec<Arc<Resource>>>;

/// The kinds served now; changes when definitions do.
pub(crate) struct Registry {
    builtin: Vec<Arc<Resource>>,
    custom: RwLock<CustomKinds>,
    current: RwLock<Arc<Kinds>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        let builtin: Vec<_> = rows::builtin().into_iter().map(Arc::new).collect();
        let current = RwLock::new(Arc::new(Kinds::new(builtin.clone(), 0)));
        Self {
            builtin,
            custom: RwLock::default(),
            current,
        }
    }

    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Serves the kinds of one definition, or stops serving them when there are none.
    pub(crate) fn set_custom(&self, definition: &str, resources: Vec<Resource>) {
        let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        if resources.is_empty() {
            custom.remove(definition);
        } else {
            custom.insert(
                definition.to_owned(),
                resources.into_iter().map(Arc::new).collect(),
            );
        }
        self.serve(&custom);
    }

    /// What is served besides the server's own kinds.
    pub(crate) fn all_custom(&self) -> CustomKinds {
        let custom = self.custom.read().unwrap_or_else(PoisonError::into_inner);
        custom.clone()
    }

    /// Serves these besides the server's own kinds, and no others.
    pub(crate) fn set_all_custom(&self, kinds: CustomKinds) {
        let mut custom = self.custom.write().unwrap_or_else(PoisonError::into_inner);
        *custom = kinds;
        self.serve(&custom);
    }

    fn serve(&self, custom: &CustomKinds) {
        let mut all = self.builtin.clone();
        let mut added: Vec<_> = custom.values().flatten().cloned().collect();
        added.sort_by(|a, b| {
            let rank = |r: &Resource| version_rank(&r.version);
            (&a.group, rank(b), &a.plural).cmp(&(&b.group, rank(a), &b.plural))
        });
        all.extend(added);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let generation = current.generation + 1;
        *current = Arc::new(Kinds::new(all, generation));
    }
}

/// The served kinds of a definition, one a version. Errors are those of the schemas.
pub(crate) fn custom(definition: &Value) -> Result<Vec<Resource>, Vec<FieldError>> {
    let group = meta::text(definition, "/spec/group");
    let plural = meta::text(definition, "/spec/names/plural");
    let kind = meta::text(definition, "/spec/names/kind");
    let owned = |pointer: &str| -> Vec<String> {
        meta::strings(definition, pointer)
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let or = |pointer: &str, other: String| match meta::text(definition, pointer) {
        "" => other,
        text => text.to_owned(),
    };
    let mut resources = Vec::new();
    for (index, version) in meta::list(definition, "/spec/versions").iter().enumerate() {
        let openapi = version.pointer("/schema/openAPIV3Schema");
        let custom_schema = match openapi {
            Some(openapi) => Some(Arc::new(Schema::compile(openapi).map_err(|errors| {
                let base = format!("spec.versions[{index}].schema");
                errors
                    .into_iter()
                    .map(|error| under(&base, error))
                    .collect::<Vec<_>>()
            })?)),
            None => None,
        };
        if version["served"] != Value::Bool(true) {
            continue;
        }
        let scale = version.pointer("/subresources/scale").map(|scale| Scale {
            replicas: pointer(meta::text(scale, "/specReplicasPath")),
            observed: pointer(meta::text(scale, "/statusReplicasPath")),
            selector: pointer(meta::text(scale, "/labelSelectorPath")),
        });
        let selectable = meta::list(version, "/selectableFields")
            .iter()
            .map(|field| meta::text(field, "/jsonPath"))
            .map(|path| (path.trim_start_matches('.').to_owned(), pointer(path)))
            .collect();
        let name = meta::text(version, "/name");
        let warning = (version["deprecated"] == Value::Bool(true)).then(|| {
            match meta::text(version, "/deprecationWarning") {
                "" => format!("{group}/{name} {kind} is deprecated"),
                text => text.to_owned(),
            }
        });
        resources.push(Resource {
            group: group.to_owned(),
            version: name.to_owned(),
            kind: kind.to_owned(),
            list_kind: or("/spec/names/listKind", format!("{kind}List")),
            plural: plural.to_owned(),
            singular: or("/spec/names/singular", kind.to_lowercase()),
            short_names: owned("/spec/names/shortNames"),
            categories: owned("/spec/names/categories"),
            namespaced: meta::text(definition, "/spec/scope") == "Namespaced",
            status: version.pointer("/subresources/status").is_some(),
            scale,
            generation: true,
            custom: true,
            collection: Arc::from(format!("{group}/{plural}")),
            columns: meta::list(version, "/additionalPrinterColumns")
                .iter()
                .map(column)
                .collect(),
            selectable,
            custom_schema,
            openapi: openapi.cloned().map(Arc::new),
            warning,
        });
    }
    Ok(resources)
}

fn under(base: &str, mut error: FieldError) -> FieldError {
    error.field = match error.field.as_str() {
        "" => base.to_owned(),
        field if field.starts_with('[') => format!("{base}{field}"),
        field => format!("{base}.{field}"),
    };
    error
}

/// A path of dots, as definitions write it, as a JSON pointer.
fn pointer(path: &str) -> String {
    path.replace('.', "/")
}

fn column(column: &Value) -> Column {
    Column {
        name: meta::text(column, "/name").to_owned(),
        kind: meta::text(column, "/type").to_owned(),
        format: meta::text(column, "/format").to_owned(),
        description: match meta::text(column, "/description") {
            // What the real server says of a column that says nothing of itself.
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                meta::text(column, "/jsonPath")
            ),
            own => own.to_owned(),
        },
        priority: column["priority"].as_i64().unwrap_or(0),
        path: meta::text(column, "/jsonPath").to_owned(),
    }
}
