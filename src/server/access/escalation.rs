//! Whatever people do with roles among themselves, none of them ends up with a right that none of them had.
//!
//! A model of the RPCs over the pure rules: some actors create roles, change them, delete them, grant them and take them, in
//! any order. Left out are those who by intent hand out what they do not have: the PlatformUserManager, who manages the
//! roles of others, and the appointment of data managers by administrators.

use std::sync::{Arc, LazyLock};

use proptest::{collection::vec, prelude::*, sample::select};

use super::{
    catalogue::{Dimension, Permission, ROLES, Scope},
    context::{Bound, Context},
    decide::{Assignment, Role, Roles},
    grant::Granter,
    rights::Rights,
};

const ACTORS: i64 = 3;
const WORKSPACES: std::ops::Range<i64> = 1..4;

/// What somebody tries.
#[derive(Debug, Clone)]
enum Act {
    Create {
        workspace: Option<i64>,
        permissions: Vec<Permission>,
    },
    Update {
        role: usize,
        permissions: Vec<Permission>,
    },
    Delete {
        role: usize,
    },
    /// A role that was created, or one that comes with the server.
    Grant {
        role: Result<usize, &'static str>,
        to: i64,
        context: Context,
    },
    Revoke {
        from: i64,
        index: usize,
    },
}

struct World {
    roles: Vec<Role>,
    created: i64,
    held: Vec<Vec<Assignment>>,
}

fn built_in() -> &'static Arc<Roles> {
    static ROLES: LazyLock<Arc<Roles>> = LazyLock::new(|| Arc::new(Roles::built_in(false)));
    &ROLES
}

impl World {
    fn rights(&self, actor: i64) -> Rights {
        let held = &self.held[usize::try_from(actor).unwrap()];
        Rights::new(actor, held.clone(), Arc::new(built_in().with(self.roles.iter().cloned())))
    }

    /// What the handlers do, without rows.
    fn act(&mut self, actor: i64, act: &Act) {
        let rights = self.rights(actor);
        let granter = Granter { rights: &rights, scopes: None };
        let manages = |workspace: Option<i64>| match workspace {
            None => rights.may(Permission::ManageDynamicRoles, None),
            Some(id) => rights.may(Permission::ManageUsersInWorkspace, Some((Dimension::Workspace, id))),
        };
        let defines = |role: &Role| {
            manages(role.workspace())
                && granter.holds_all_of(role, &role.workspace().map_or(Context::NONE, Context::workspace)).is_ok()
        };
        match act {
            Act::Create { workspace, permissions } => {
                let role = define(self.created, *workspace, permissions);
                if defines(&role) {
                    self.created += 1;
                    self.roles.push(role);
                }
            }
            Act::Update { role, permissions } => {
                let Some(before) = self.roles.get(*role) else { return };
                let after = define(before.row().unwrap(), before.workspace(), permissions);
                if defines(before) && defines(&after) {
                    self.roles[*role] = after;
                }
            }
            Act::Delete { role } => {
                if self.roles.get(*role).is_some_and(defines) {
                    let gone = self.roles.remove(*role);
                    self.held.iter_mut().for_each(|held| held.retain(|a| a.role != *gone.name()));
                }
            }
            Act::Grant { role, to, context } => {
                let role = match role {
                    Ok(index) => self.roles.get(*index),
                    Err(name) => built_in().get(name),
                };
                let Some(role) = role else { return };
                let there = match context.get(Dimension::Workspace) {
                    Some(Bound::Id(id)) if role.scope() == Scope::Workspace => manages(Some(id)),
                    // what is granted with `manageUserRoles`, which nobody here has: the rules must hold without it
                    _ => true,
                };
                if there && granter.may_grant(*to, role, context).is_ok() {
                    let assignment = Assignment { id: 1, role: role.name().clone(), context: *context };
                    self.held[usize::try_from(*to).unwrap()].push(assignment);
                }
            }
            Act::Revoke { from, index } => {
                let held = &mut self.held[usize::try_from(*from).unwrap()];
                if held.get(*index).is_some_and(|assignment| granter.may_revoke(*from, assignment).is_ok()) {
                    held.remove(*index);
                }
            }
        }
    }

    /// Everything that somebody among them may do to others.
    fn powers(&self) -> Vec<(Permission, Option<(Dimension, i64)>)> {
        let all: Vec<_> = (0..ACTORS).map(|actor| self.rights(actor)).collect();
        let asked = Permission::ALL.iter().flat_map(|&permission| match permission.requires() {
            None => vec![(permission, None)],
            Some(Dimension::User) => Vec::new(),
            Some(d) => WORKSPACES.map(|id| (permission, Some((d, id)))).chain([(permission, None)]).collect(),
        });
        asked.filter(|&(permission, target)| all.iter().any(|rights| rights.may(permission, target))).collect()
    }
}

fn define(row: i64, workspace: Option<i64>, permissions: &[Permission]) -> Role {
    let fits = |p: &Permission| match p.requires() {
        None => *p != Permission::InitializeTenant,
        Some(dimension) => workspace.is_some() && dimension == Dimension::Workspace,
    };
    let permissions = permissions.iter().copied().filter(fits).collect();
    Role::dynamic(row, format!("role-{row}"), "", workspace, permissions)
}

fn bound() -> impl Strategy<Value = Option<Bound>> {
    prop_oneof![1 => Just(None), 1 => Just(Some(Bound::Any)), 6 => WORKSPACES.prop_map(|id| Some(Bound::Id(id)))]
}

fn context() -> impl Strategy<Value = Context> {
    (bound(), select(vec![Dimension::Workspace, Dimension::Workspace, Dimension::Workbench]))
        .prop_map(|(bound, dimension)| bound.map_or(Context::NONE, |bound| Context::NONE.with(dimension, bound)))
}

fn permissions() -> impl Strategy<Value = Vec<Permission>> {
    let all = Permission::ALL.iter().copied().filter(|p| p.requires() != Some(Dimension::User));
    vec(select(all.collect::<Vec<_>>()), 1..5)
}

fn act() -> impl Strategy<Value = Act> {
    let place = prop_oneof![1 => Just(None), 3 => WORKSPACES.prop_map(Some)];
    let names: Vec<_> = ROLES.iter().map(|role| role.name).collect();
    let role = prop_oneof![2 => (0usize..4).prop_map(Ok), 1 => select(names).prop_map(Err)];
    prop_oneof![
        (place, permissions()).prop_map(|(workspace, permissions)| Act::Create { workspace, permissions }),
        (0usize..4, permissions()).prop_map(|(role, permissions)| Act::Update { role, permissions }),
        (0usize..4).prop_map(|role| Act::Delete { role }),
        (role, 0..ACTORS, context()).prop_map(|(role, to, context)| Act::Grant { role, to, context }),
        (0..ACTORS, 0usize..4).prop_map(|(from, index)| Act::Revoke { from, index }),
    ]
}

/// What the actors begin with: roles of workspaces and of workbenches, and once in a while the right to define roles of the
/// platform, which on its own is nobody's but the PlatformUserManager's.
fn beginning() -> impl Strategy<Value = (Vec<Role>, Vec<Vec<Assignment>>)> {
    let names = ["WorkspaceAdmin", "WorkspaceAdmin", "WorkspaceMaintainer", "WorkspaceGuest", "Definer"];
    let bench = ["WorkbenchAdmin", "WorkbenchMember"];
    let held = prop_oneof![
        4 => (select(names.to_vec()), WORKSPACES).prop_map(|(name, id)| {
            let context = if name == "Definer" { Context::NONE } else { Context::workspace(id) };
            Assignment { id: 1, role: name.into(), context }
        }),
        1 => (select(bench.to_vec()), WORKSPACES)
            .prop_map(|(name, id)| Assignment { id: 1, role: name.into(), context: Context::workbench(id) }),
    ];
    let definer = Role::dynamic(0, "Definer", "", None, vec![Permission::ManageDynamicRoles, Permission::ListApps]);
    vec(vec(held, 0..3), usize::try_from(ACTORS).unwrap()).prop_map(move |held| (vec![definer.clone()], held))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn together_they_never_gain(start in beginning(), acts in vec((0..ACTORS, act()), 1..25)) {
        let mut world = World { roles: start.0, created: 1, held: start.1 };
        let before = world.powers();
        for (actor, act) in &acts {
            world.act(*actor, act);
            let gained: Vec<_> = world.powers().into_iter().filter(|power| !before.contains(power)).collect();
            prop_assert!(gained.is_empty(), "{gained:?} by {act:?}");
        }
    }
}

/// The model is no model of refusals only.
#[test]
fn the_model_does_things() {
    let admin = Assignment { id: 1, role: "WorkspaceAdmin".into(), context: Context::workspace(1) };
    let mut world = World { roles: Vec::new(), created: 1, held: vec![vec![admin], Vec::new(), Vec::new()] };
    world.act(0, &Act::Create { workspace: Some(1), permissions: vec![Permission::GetWorkspace] });
    world.act(0, &Act::Grant { role: Ok(0), to: 1, context: Context::workspace(1) });
    let sees = |world: &World| world.rights(1).may(Permission::GetWorkspace, Some((Dimension::Workspace, 1)));
    assert!(sees(&world));
    world.act(0, &Act::Update { role: 0, permissions: vec![Permission::ListUsers] });
    assert!(!sees(&world) && world.rights(1).may(Permission::ListUsers, None));
    world.act(1, &Act::Delete { role: 0 });
    assert_eq!(world.roles.len(), 1, "only who manages the place");
    world.act(0, &Act::Delete { role: 0 });
    assert!(world.roles.is_empty() && world.held[1].is_empty());
}
