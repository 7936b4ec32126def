//! Search of a pickle's objects for named tensors, with a list of the objects that were not read.
//!
//! Dictionaries, lists, tuples and their subclasses are walked. A module (`torch.save(model)`) is read as its
//! `state_dict()` would name its tensors. Any other object is listed by its path and class.

use std::{borrow::Cow, collections::HashSet};

use gnr_pickle::{Budget, Exhausted, Id, Object, Pickle, Text, View};

use super::{
    classes,
    tensor::{self, Made, Tensor},
};

/// Tensors by name, and `path: class` of objects that are neither tensor nor plain data.
#[derive(Debug, Default)]
pub(in crate::weights) struct Found {
    pub(in crate::weights) tensors: Vec<(String, Tensor)>,
    pub(in crate::weights) foreign: Vec<String>,
}

/// Largest depth of containers within containers.
const DEPTH: usize = 128;
/// Memory of a tensor beside its description, in bytes: its entry in the file's list, and the allocator's own needs.
const TENSOR: usize = 120;
/// Memory of a listed object beside its line, in bytes.
const LINE: usize = 32;

/// Searches a pickle. With `scripted` (TorchScript), objects keep their tensors as attributes; `root` precedes every
/// name.
pub(in crate::weights) fn walk(
    pickle: &Pickle<'_>,
    scripted: bool,
    root: &str,
    budget: &mut Budget,
) -> Result<Found, Exhausted> {
    let mut found = Found::default();
    // Attributes of arbitrary objects are read only if nothing else has tensors: an optimiser also refers to the
    // weights.
    for attributes in [false, true] {
        let mut walk = Walk {
            pickle,
            scripted,
            attributes,
            found: Found::default(),
            path: Vec::new(),
            name: root.to_owned(),
            unlisted: 0,
            modules: 0,
            budget: &mut *budget,
        };
        walk.value(pickle.root())?;
        let unlisted = walk.unlisted;
        let next = walk.found;
        if attributes && next.tensors.is_empty() {
            break;
        }
        let done = !next.tensors.is_empty();
        found = next;
        if unlisted > 0 {
            found
                .foreign
                .push(format!("and {unlisted} more objects, too many to list for a file of this size"));
        }
        if done {
            break;
        }
    }
    found.foreign.sort();
    Ok(found)
}

struct Walk<'w, 'p, 'b> {
    pickle: &'p Pickle<'w>,
    scripted: bool,
    attributes: bool,
    found: Found,
    /// Containers around the value. A container that holds itself is entered once.
    path: Vec<Id>,
    name: String,
    unlisted: usize,
    /// Number of modules around the value.
    modules: usize,
    budget: &'b mut Budget,
}

/// Whether a later key equals this one, for each key. The last of equal keys counts.
fn shadowed(keys: &[(bool, Cow<'_, str>)]) -> Vec<bool> {
    let mut order: Vec<u32> = (0..keys.len() as u32).collect();
    let key = |index: &u32| keys.get(*index as usize);
    order.sort_unstable_by(|a, b| key(a).cmp(&key(b)).then(a.cmp(b)));
    let mut shadowed = vec![false; keys.len()];
    for pair in order.windows(2).filter(|pair| key(&pair[0]) == key(&pair[1])) {
        shadowed[pair[0] as usize] = true;
    }
    shadowed
}

impl<'p> Walk<'_, 'p, '_> {
    fn value(&mut self, id: Id) -> Result<(), Exhausted> {
        // Each step costs: containers that share their parts may have more paths than the file has bytes.
        self.budget.take(8)?;
        match self.pickle.view(id) {
            View::Other | View::Bool(_) | View::Int(_) | View::Long(_) | View::Text(_) | View::Bytes(_) => {
                Ok(())
            }
            View::Items(items) => self.within(id, |walk| walk.items(items)),
            View::Pairs(pairs) => self.within(id, |walk| walk.pairs(pairs)),
            View::Global(global) => match global.of("torch") {
                // Number formats and layouts are settings.
                Some(name) if name.starts_with(|first: char| first.is_ascii_lowercase()) => Ok(()),
                _ => {
                    self.budget.take(global.written() / 8)?;
                    self.list(&format!("{global}, a class or function"))
                }
            },
            View::Extension(_) => self.list(&tensor::class(self.pickle, id)),
            View::Persistent(_) => match tensor::global(self.pickle, id) {
                Some(class) => self.list(&format!("{class}, a class or function")),
                None => self.list("a storage without a tensor"),
            },
            View::Object(object) => self.within(id, |walk| walk.object(object)),
        }
    }

    /// Runs `walk` on a container unless it holds itself or lies too deep.
    fn within(
        &mut self,
        id: Id,
        walk: impl FnOnce(&mut Self) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        if self.path.contains(&id) {
            return Ok(());
        }
        if self.path.len() == DEPTH {
            return self.list(&format!("objects inside more than {DEPTH} others"));
        }
        self.path.push(id);
        let done = walk(self);
        self.path.pop();
        done
    }

    /// Runs `walk` with `part` appended to the name.
    fn named(
        &mut self,
        part: &str,
        walk: impl FnOnce(&mut Self) -> Result<(), Exhausted>,
    ) -> Result<(), Exhausted> {
        let length = self.name.len();
        // This is the cost of appending. `tensor` and `list` take the cost of copies.
        self.budget.take(part.len() / 4)?;
        if !self.name.is_empty() {
            self.name.push('.');
        }
        self.name.push_str(part);
        let done = walk(self);
        self.name.truncate(length);
        done
    }

    fn items(&mut self, items: &[Id]) -> Result<(), Exhausted> {
        self.budget.take(items.len())?;
        for (index, &item) in items.iter().enumerate() {
            if !self.is_leaf(item) {
                self.named(&index.to_string(), |walk| walk.value(item))?;
            }
        }
        Ok(())
    }

    /// Whether a value holds nothing and is not listed.
    fn is_leaf(&self, id: Id) -> bool {
        matches!(
            self.pickle.view(id),
            View::Other | View::Bool(_) | View::Int(_) | View::Long(_) | View::Text(_) | View::Bytes(_)
        )
    }

    fn pairs(&mut self, pairs: &[(Id, Id)]) -> Result<(), Exhausted> {
        let lengths: usize =
            pairs.iter().filter_map(|&(key, _)| self.pickle.text(key)).map(|text| text.len()).sum();
        // The budget bounds the time, because the same dictionary may be met at many places.
        self.budget.take(pairs.len() + lengths / 8)?;
        // Memory of each key: its text with an allocation of its own, its place in the order, and a mark.
        let cost = pairs.len() * (size_of::<(bool, Cow<'_, str>)>() + 16 + 5) + lengths;
        self.budget.take(cost)?;
        // The number 1 and the text "1" are two keys.
        let key = |(index, &(key, _)): (usize, &(Id, Id))| match self.pickle.view(key) {
            View::Text(text) => (true, text.decode()),
            View::Int(number) => (false, number.to_string().into()),
            View::Bool(value) => (false, if value { "True" } else { "False" }.into()),
            // Other keys, such as a tuple, `None` or a tensor, are no names.
            _ => (false, format!("#{index}").into()),
        };
        let keys: Vec<(bool, Cow<'p, str>)> = pairs.iter().enumerate().map(key).collect();
        let shadowed = shadowed(&keys);
        let done = pairs.iter().zip(&keys).zip(shadowed).try_for_each(|((&(_, value), key), shadowed)| {
            if shadowed || self.is_leaf(value) {
                return Ok(());
            }
            self.named(&key.1, |walk| walk.value(value))
        });
        self.budget.give(cost);
        done
    }

    fn object(&mut self, object: &Object) -> Result<(), Exhausted> {
        match tensor::made(self.pickle, object) {
            Made::Tensor(Ok(tensor)) => return self.tensor(tensor),
            Made::Tensor(Err(reason)) => return self.list(&reason),
            Made::Other => {}
        }
        let (class, given) = classes::class(self.pickle, object);
        self.budget.take(class.len() / 8)?;
        if let Some(module) = self.module(object)? {
            return self.whole_module(&class, module);
        }
        if self.scripted
            && let Some(View::Pairs(attributes)) = object.state.map(|state| self.pickle.view(state))
        {
            return self.pairs(attributes);
        }
        if let (classes::COMPILED, Some(module)) = (class.as_str(), given) {
            // `state_dict()` gives this name, too.
            return self.named("_orig_mod", |walk| walk.value(module));
        }
        let (tensors, lines) = (self.found.tensors.len(), self.found.foreign.len());
        match given.map(|given| self.pickle.view(given)) {
            Some(View::Pairs(pairs)) => self.pairs(pairs)?,
            // Python 2 makes an ordered dictionary of a list of pairs.
            Some(View::Items(items)) if class == "collections.OrderedDict" => {
                let pair = |&item: &Id| match self.pickle.items(item) {
                    Some(&[key, value]) => Some((key, value)),
                    _ => None,
                };
                let cost = items.len() * size_of::<(Id, Id)>();
                self.budget.take(cost)?;
                let mut pairs = Vec::with_capacity(items.len());
                pairs.extend(items.iter().filter_map(pair));
                self.pairs(&pairs)?;
                self.budget.give(cost);
            }
            Some(View::Items(items)) => self.items(items)?,
            _ => {}
        }
        self.items(object.items())?;
        self.pairs(object.pairs())?;
        if self.attributes
            && let Some(View::Pairs(attributes)) = object.state.map(|state| self.pickle.view(state))
        {
            self.pairs(attributes)?;
        }
        if classes::is_plain(&class) || (self.found.tensors.len() > tensors && !self.attributes) {
            return Ok(());
        }
        // The object's line stands for the objects inside, unless tensors were found there.
        if self.found.tensors.len() == tensors {
            self.found.foreign.truncate(lines);
        }
        self.list(&class)
    }

    /// The attributes of a module.
    fn module(&mut self, object: &Object) -> Result<Option<Module>, Exhausted> {
        let state = object.state.into_iter();
        // With `__slots__` a state is a pair of dictionaries. A traced graph (torch.fx) gets its attributes as an
        // argument.
        let inner = object.state.and_then(|state| self.pickle.items(state)).unwrap_or_default();
        let arguments = self.pickle.items(object.arguments).unwrap_or_default();
        for state in state.chain(inner.iter().take(2).copied()).chain(arguments.first().copied()) {
            let View::Pairs(pairs) = self.pickle.view(state) else { continue };
            self.budget.take(pairs.len())?;
            let attribute = |name: &str| {
                let mut named = pairs.iter().rev();
                let found = named.find(|(key, _)| self.pickle.text(*key).is_some_and(|key| key.is(name)));
                found.map(|(_, value)| *value)
            };
            if let (Some(parameters), Some(modules)) = (attribute("_parameters"), attribute("_modules")) {
                let (buffers, transient) = (attribute("_buffers"), attribute("_non_persistent_buffers_set"));
                return Ok(Some(Module { parameters, modules, buffers, transient }));
            }
        }
        Ok(None)
    }

    /// Reads a module like its `state_dict()`: parameters, persistent buffers, and inner modules.
    fn whole_module(&mut self, class: &str, module: Module) -> Result<(), Exhausted> {
        let before = (self.found.tensors.len(), self.found.foreign.len() + self.unlisted);
        self.modules += 1;
        self.entries(module.parameters, None)?;
        if let Some(buffers) = module.buffers {
            self.entries(buffers, module.transient)?;
        }
        self.entries(module.modules, None)?;
        self.modules -= 1;
        // Only the outermost module is listed.
        if self.modules > 0 {
            return Ok(());
        }
        match before == (self.found.tensors.len(), self.found.foreign.len() + self.unlisted) {
            true => self.list(class),
            false => self.list(&format!("{class}, a module: its tensors were read, its code was not")),
        }
    }

    /// Walks the entries of a dictionary of any kind, except those named by the set `without`.
    fn entries(&mut self, dictionary: Id, without: Option<Id>) -> Result<(), Exhausted> {
        let pairs = match self.pickle.view(dictionary) {
            View::Pairs(pairs) => pairs,
            View::Object(object) => object.pairs(),
            _ => return Ok(()),
        };
        let without = without.map(|set| self.members(set)).unwrap_or_default();
        if without.is_empty() {
            return self.pairs(pairs);
        }
        self.budget.take(8 * pairs.len() + without.len())?;
        let names: HashSet<_> =
            without.iter().filter_map(|&name| self.pickle.text(name)).map(Text::decode).collect();
        let left_out = |key: Id| self.pickle.text(key).is_some_and(|key| names.contains(&key.decode()));
        let kept: Vec<_> = pairs.iter().filter(|(key, _)| !left_out(*key)).copied().collect();
        self.pairs(&kept)
    }

    /// The items of a set.
    fn members(&self, set: Id) -> &'p [Id] {
        match self.pickle.view(set) {
            View::Items(items) => items,
            // Protocol 2 has no sets and writes the call `set([…])`.
            View::Object(object) => match self.pickle.items(object.arguments) {
                Some(&[list]) => self.pickle.items(list).unwrap_or_default(),
                _ => object.items(),
            },
            _ => &[],
        }
    }

    fn tensor(&mut self, tensor: Tensor) -> Result<(), Exhausted> {
        let name = if self.name.is_empty() { "tensor" } else { &self.name };
        let Tensor { storage, shape, strides, .. } = &tensor;
        let numbers = size_of_val(&shape[..]) * 2 + size_of_val(&strides[..]);
        self.budget.take(TENSOR + 2 * name.len() + 2 * storage.key.len() + numbers)?;
        let name = name.to_owned();
        self.budget.push(&mut self.found.tensors, (name, tensor))
    }

    fn list(&mut self, what: &str) -> Result<(), Exhausted> {
        let path = if self.name.is_empty() { "(the file itself)" } else { &self.name };
        let line = format!("{path}: {what}");
        match self.budget.take(LINE + line.len()) {
            Ok(()) => self.found.foreign.push(line),
            Err(Exhausted) => self.unlisted += 1,
        }
        Ok(())
    }
}

/// The parts of a module.
struct Module {
    parameters: Id,
    modules: Id,
    buffers: Option<Id>,
    /// Names of buffers that `state_dict()` leaves out.
    transient: Option<Id>,
}
