//! The named parameters and buffers of a model, in state-dict order.

use crate::Init;

/// What an entry of a [`Layout`] is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// Learned; starts as drawn by the initialiser.
    Parameter(Init),
    /// A running statistic; starts at this value.
    Buffer(f64),
}

/// One named tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted name, as in the published checkpoints of the architecture (`layer1.0.conv1.weight`).
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Parameter or buffer.
    pub role: Role,
}

impl Entry {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Index of a parameter among the parameters of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub(crate) usize);

/// Index of a buffer among the buffers of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufferId(pub(crate) usize);

/// Every tensor of a model, in PyTorch's state-dict order (each module: own parameters, own buffers, children).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    entries: Vec<Entry>,
    parameters: usize,
    buffers: usize,
}

impl Layout {
    /// An empty layout; layers add to its root [`Scope`].
    pub fn new() -> Self {
        Self::default()
    }
    /// The scope with the empty prefix.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { layout: self, prefix: String::new() }
    }
    /// All entries in state-dict order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// The learned entries in order; position = [`ParamId`].
    pub fn parameters(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry.role, Role::Parameter(_)))
    }
    /// The running statistics in order; position = [`BufferId`].
    pub fn buffers(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry.role, Role::Buffer(_)))
    }
    /// The classifier: the name of the module of the last learned tensor (`fc`, `classifier.1`), by which a new number
    /// of classes is recognised. Empty when that tensor belongs to no module.
    pub fn head(&self) -> &str {
        let last = self.parameters().last().map_or("", |entry| entry.name.as_str());
        last.rsplit_once('.').map_or("", |(module, _)| module)
    }
    /// Whether a tensor belongs to a module or to one inside it; the empty name holds nothing.
    pub fn is_within(name: &str, module: &str) -> bool {
        !module.is_empty() && name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
    }
    /// Number of learned tensors.
    pub fn num_parameter_tensors(&self) -> usize {
        self.parameters
    }
    /// Number of running statistics.
    pub fn num_buffers(&self) -> usize {
        self.buffers
    }
    /// Number of learned scalars, d.
    pub fn num_parameters(&self) -> usize {
        self.parameters().map(Entry::len).sum()
    }
}

/// Where a layer declares its tensors: a layout and a name prefix.
#[derive(Debug)]
pub struct Scope<'l> {
    layout: &'l mut Layout,
    prefix: String,
}

impl Scope<'_> {
    /// The scope of a child module: `scope.enter("layer1.0")`.
    pub fn enter(&mut self, name: &str) -> Scope<'_> {
        let prefix = self.name(name);
        Scope { layout: self.layout, prefix }
    }
    /// The name of the module; empty at the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
    /// Declares a parameter.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> ParamId {
        self.push(name, shape, Role::Parameter(init));
        self.layout.parameters += 1;
        ParamId(self.layout.parameters - 1)
    }
    /// Declares a buffer.
    pub fn buffer(&mut self, name: &str, shape: &[usize], value: f64) -> BufferId {
        self.push(name, shape, Role::Buffer(value));
        self.layout.buffers += 1;
        BufferId(self.layout.buffers - 1)
    }
    fn name(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }
    fn push(&mut self, name: &str, shape: &[usize], role: Role) {
        let name = self.name(name);
        debug_assert!(self.layout.entries.iter().all(|entry| entry.name != name), "{name} declared twice");
        self.layout.entries.push(Entry { name, shape: shape.to_vec(), role });
    }
}
