"""Violations of what is invariant in devices and IOMMU domains."""

from __future__ import annotations

from kernel.objects import DOMAIN_PAGES, DOMAIN_REGIONS, REGION_BLOCK
from tests.kernel.scene import IOVA, Scene
from tests.kernel.violations import breaks, violates


@violates("device_holder")
def device_that_its_holder_does_not_know(scene: Scene) -> None:
    scene.k.device[scene.spare_device].holder = scene.d


@violates("device_holder")
def freed_device_leaves_its_slot(scene: Scene) -> None:
    scene.k.device[scene.free_pages[0]].holder_slot = 1


@violates("device_domain")
def device_with_a_place_in_no_domain(scene: Scene) -> None:
    scene.k.device[scene.spare_device].place = 1


@violates("device_domain")
def device_that_its_domain_forgot(scene: Scene) -> None:
    M = scene.k.domain[scene.domain]
    M.device_count -= 1


@violates("domain_holder")
def domain_charged_for_nothing(scene: Scene) -> None:
    scene.k.domain[scene.free_pages[0]].holder_slot = 1


@breaks("domain_holder")
def domain_held_by_a_thread(scene: Scene) -> None:
    k, M = scene.k, scene.k.domain[scene.domain]
    M.holder = scene.running
    k.process[scene.running].container = k.root
    k.process[scene.running].handle_object[M.holder_slot] = M.id


@violates("domain_mappings")
def mapping_for_devices_not_counted(scene: Scene) -> None:
    scene.k.domain[scene.domain].mappings -= 1


@violates("domain_device")
def place_of_a_device_that_there_is_not(scene: Scene) -> None:
    scene.k.domain[scene.domain].device_count += 1


@violates("domain_mapped")
def devices_that_may_only_write(scene: Scene) -> None:
    scene.k.domain[scene.domain].map_permission[IOVA] = 2


def _mapped_beyond(w: int) -> None:
    @breaks("domain_mapped")
    def page_where_devices_address_nothing(scene: Scene) -> None:
        M = scene.k.domain[scene.domain]
        M.map_page[w], M.map_permission[w], M.regions[w // 512] = scene.shared, 1, 1


for _w in (-1, DOMAIN_PAGES): _mapped_beyond(_w)


@violates("domain_mapped")
def permission_where_nothing_is_mapped(scene: Scene) -> None:
    scene.k.domain[scene.domain].map_permission[IOVA + 1] = 1


@violates("domain_region")
def region_that_counts_one_too_many(scene: Scene) -> None:
    scene.k.domain[scene.domain].regions[IOVA // 512] += 1


@violates("domain_region")
def region_said_to_be_a_block(scene: Scene) -> None:
    scene.k.domain[scene.domain].regions[900] = REGION_BLOCK


@violates("domain_region")
def region_behind_the_last(scene: Scene) -> None:
    scene.k.domain[scene.domain].regions[DOMAIN_REGIONS] = 1


@violates("domain_region")
def region_before_the_first(scene: Scene) -> None:
    scene.k.domain[scene.domain].regions[-1] = 1
