//! The named parameters and buffers of a model, in state-dict order.

use crate::Init;

/// The role of an entry of a [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Role {
    /// A learned tensor, which starts as the initialiser draws it.
    Parameter(Init),
    /// A running statistic, which starts with this value everywhere.
    Buffer(f64),
}

/// One named tensor of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Dotted name, as in the published checkpoints of the architecture (`layer1.0.conv1.weight`).
    pub name: String,
    /// The shape of the tensor.
    pub shape: Vec<usize>,
    /// Whether the tensor is a parameter or a buffer.
    pub role: Role,
}

impl Entry {
    /// Number of elements of the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }
    /// Whether the tensor has no elements.
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

/// All tensors of a model, in PyTorch's state-dict order (each module: own parameters, own buffers, children).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    entries: Vec<Entry>,
    parameters: usize,
    buffers: usize,
    grid: Option<[usize; 2]>,
}

impl Layout {
    /// An empty layout, to whose root [`Scope`] layers add tensors.
    pub fn new() -> Self {
        Self::default()
    }
    /// The scope with an empty prefix.
    pub fn root(&mut self) -> Scope<'_> {
        Scope { layout: self, prefix: String::new() }
    }
    /// All entries in state-dict order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
    /// The learned entries, in the order of their [`ParamId`]s.
    pub fn parameters(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry.role, Role::Parameter(_)))
    }
    /// The running statistics, in the order of their [`BufferId`]s.
    pub fn buffers(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| matches!(entry.role, Role::Buffer(_)))
    }
    /// The classifier: the name of the module of the last learned tensor (`fc`, `classifier.1`). A changed number of
    /// classes is recognised by it. Empty when that tensor belongs to no module.
    pub fn head(&self) -> &str {
        let last = self.parameters().last().map_or("", |entry| entry.name.as_str());
        last.rsplit_once('.').map_or("", |(module, _)| module)
    }
    /// Whether a tensor belongs to a module or to one inside it. No tensor belongs to the empty name.
    pub fn is_within(name: &str, module: &str) -> bool {
        !module.is_empty() && name.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
    }
    /// The grid, rows and columns, of the patches whose positions the model learns; `None` without such positions. The
    /// shape of their tensor tells only the number of patches.
    pub fn grid(&self) -> Option<[usize; 2]> {
        self.grid
    }
    /// Declares the grid of the patches whose positions the model learns.
    pub fn set_grid(&mut self, grid: [usize; 2]) {
        self.grid = Some(grid);
    }
    /// Number of tensors that are learned.
    pub fn num_parameter_tensors(&self) -> usize {
        self.parameters
    }
    /// Number of tensors that are running statistics.
    pub fn num_buffers(&self) -> usize {
        self.buffers
    }
    /// Number d of learned scalars.
    pub fn num_parameters(&self) -> usize {
        self.parameters().map(Entry::len).sum()
    }
}

/// The place where a layer declares its tensors: a layout and a name prefix.
#[derive(Debug)]
pub struct Scope<'l> {
    layout: &'l mut Layout,
    prefix: String,
}

impl Scope<'_> {
    /// The scope of a child module, as in `scope.enter("layer1.0")`.
    pub fn enter(&mut self, name: &str) -> Scope<'_> {
        let prefix = self.name(name);
        Scope { layout: self.layout, prefix }
    }
    /// The name of the module; empty at the root.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
    /// Declares a parameter, whose name in this module must be new.
    pub fn parameter(&mut self, name: &str, shape: &[usize], init: Init) -> ParamId {
        self.push(name, shape, Role::Parameter(init));
        self.layout.parameters += 1;
        ParamId(self.layout.parameters - 1)
    }
    /// Declares a running statistic that starts at `value`; its name in this module must be new.
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
