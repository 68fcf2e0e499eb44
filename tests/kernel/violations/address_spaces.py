"""Violations of what is invariant in page tables and address spaces."""

from __future__ import annotations

from kernel.objects import TABLE
from kernel.page_allocator import allocate_page
from tests.kernel.scene import BLOCK, OTHER, Scene, V
from tests.kernel.violations import breaks, charge_to_another, violates
from tests.kernel.world import page_at


@violates("table_place")
def root_table_that_is_nobodys_root(scene: Scene) -> None:
    X = scene.k.table[allocate_page(scene.k, scene.k.root, TABLE)]
    X.level, X.process = 4, scene.s


@violates("table_place")
def copy_of_a_table_that_no_entry_leads_to(scene: Scene) -> None:
    k = scene.k
    X, Y = k.table[scene.x1], k.table[allocate_page(k, k.root, TABLE)]
    Y.level, Y.process, Y.parent, Y.slot, Y.base, Y.used = X.level, X.process, X.parent, X.slot, X.base, X.used
    Y.entry.update(X.entry)
    Y.permission.update(X.permission)


@violates("table_place")
def freed_table_remembers_its_base(scene: Scene) -> None:
    scene.k.table[scene.free_pages[0]].base = 512


@breaks("table_place")
def tables_of_what_is_no_process(scene: Scene) -> None:
    k, t = scene.k, scene.running
    S, T = scene.S, k.process[t]
    T.root = scene.x4
    T.map_page.update(S.map_page)
    T.map_permission.update(S.map_permission)
    for x, X in k.table.items():
        if k.page[x].kind == TABLE and X.process == scene.s: X.process = t


@breaks("table_place")
def table_below_the_lowest_level(scene: Scene) -> None:
    k = scene.k
    X, Y = k.table[scene.x1], k.table[allocate_page(k, k.root, TABLE)]
    X.entry[9] = Y.id
    Y.level, Y.process, Y.parent, Y.slot = 0, scene.s, scene.x1, 9


@breaks("table_place")
def table_above_the_root(scene: Scene) -> None:
    k = scene.k
    X, Y = k.table[scene.x4], k.table[allocate_page(k, k.root, TABLE)]
    Y.level, Y.process, Y.entry[0] = 6, scene.s, X.id
    X.level, X.parent, X.slot = 5, Y.id, 0


@violates("table_base")
def table_translates_other_addresses(scene: Scene) -> None:
    scene.k.table[scene.x3].base += 1 << 18


@violates("table_charge")
def table_is_charged_to_another_container(scene: Scene) -> None:
    charge_to_another(scene, scene.x1)


@violates("table_used")
def entries_are_miscounted(scene: Scene) -> None:
    scene.k.table[scene.x1].used += 1


@violates("table_used")
def table_without_entries(scene: Scene) -> None:
    k = scene.k
    X = k.table[allocate_page(k, k.root, TABLE)]
    X.level, X.process, X.parent, X.slot = 1, scene.s, scene.x2, 9
    X.base = page_at(1, 2, 9)
    k.table[scene.x2].entry[9] = X.id
    k.table[scene.x2].used += 1


@violates("entry_target")
def two_entries_lead_to_one_table(scene: Scene) -> None:
    X = scene.k.table[scene.x3]
    X.entry[9] = scene.x2
    X.used += 1


@violates("entry_target")
def program_maps_in_the_machines_own_slot(scene: Scene) -> None:
    k, S = scene.k, scene.S
    shift = (255 - 1) << 27
    X4, X3 = k.table[scene.x4], k.table[scene.x3]
    X4.entry[255], X4.entry[1] = X4.entry[1], 0
    X3.slot = 255
    for x in (scene.x3, scene.x2, scene.x1):
        k.table[x].base += shift
    for row in (S.map_page, S.map_permission):
        for v in (V, OTHER, BLOCK):
            row[v + shift], row[v] = row[v], 0


@violates("entry_mapped")
def tables_map_what_the_address_space_does_not(scene: Scene) -> None:
    X = scene.k.table[scene.x1]
    X.entry[400] = scene.own
    X.used += 1


@violates("entry_mapped")
def empty_entry_has_permissions(scene: Scene) -> None:
    scene.k.table[scene.x1].permission[400] = 1


@violates("map_walked")
def address_space_maps_what_the_tables_do_not(scene: Scene) -> None:
    scene.S.map_page[page_at(7, 7, 7, 7)] = scene.own
    scene.S.mappings += 1
    scene.k.page[scene.own].references += 1


@violates("map_permission")
def write_only_mapping(scene: Scene) -> None:
    scene.S.map_permission[OTHER] = 2
    scene.k.table[scene.x1].permission[5] = 2


@violates("map_permission")
def permissions_without_a_mapping(scene: Scene) -> None:
    scene.S.map_permission[page_at(7, 7, 7, 7)] = 7
