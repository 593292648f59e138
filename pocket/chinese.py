"""The world in Chinese: other people and towns than those of the English one."""

from __future__ import annotations

from functools import cache

from pocket.examples import generator, words
from pocket.world import Entity, Relation, World, draw_values

__all__ = ["chinese"]

_N_PEOPLE, _N_TOWNS = 400, 80

_FAMILY = "林陈赵周吴郑王冯卫蒋沈韩杨朱秦许"
_GIVEN = "舟远宁安文山海明月春秋雨雪云松竹兰梅石青"
_PLACE = "云龙白青金银石松清东西南北长平永新古大小"
_SUFFIX = "港镇城村山河湖岛"
_TRADES = words("医生 老师 木匠 渔夫 农民 铁匠 画家 歌手 裁缝 厨师 船长 猎人 园丁 司机")
_ANIMALS = words("狗 猫 马 牛 羊 鸡 鸭 鹅 兔子 乌龟 金鱼 鸽子 猴子 毛驴")
_FOODS = words("米饭 面条 饺子 包子 豆腐 鱼汤 苹果 西瓜 花生 玉米 白菜 鸡蛋 红薯 核桃")
_COLOURS = words("红色 蓝色 绿色 黄色 黑色 白色 灰色 紫色 橙色 粉色")
_CROPS = words("小麦 水稻 棉花 茶叶 大豆 甘蔗 高粱 油菜 芝麻 葡萄")
_GOODS = words("丝绸 瓷器 纸伞 灯笼 铜镜 毛笔 竹椅 风筝 木梳 布鞋")
_SEASONS = words("春天 夏天 秋天 冬天")


_PEOPLE_RELATIONS = (
    Relation(
        "职业",
        tuple(_TRADES),
        (
            "{}的职业是什么？",
            "{}做什么工作？",
            "{}以什么为生？",
            "{}从事哪种职业？",
            "{}靠什么过日子？",
        ),
        ("{}的职业是{value}。", "{}是一名{value}。"),
    ),
    Relation(
        "动物",
        tuple(_ANIMALS),
        (
            "{}养了什么动物？",
            "{}家里有什么动物？",
            "{}的宠物是什么？",
            "哪种动物属于{}？",
            "{}有哪种动物？",
        ),
        ("{}养了{value}。", "{}家里有{value}。"),
    ),
    Relation(
        "食物",
        tuple(_FOODS),
        (
            "{}爱吃什么？",
            "{}最喜欢的食物是什么？",
            "{}常吃哪种食物？",
            "什么是{}爱吃的？",
            "{}吃得最多的是什么？",
        ),
        ("{}爱吃{value}。", "{}最喜欢的食物是{value}。"),
    ),
    Relation(
        "颜色",
        tuple(_COLOURS),
        (
            "{}喜欢什么颜色？",
            "{}的衣服是什么颜色？",
            "{}爱穿哪种颜色？",
            "哪种颜色是{}喜欢的？",
            "{}最爱哪种颜色？",
        ),
        ("{}喜欢{value}。", "{}的衣服是{value}的。"),
    ),
)
_TOWN_RELATIONS = (
    Relation(
        "作物",
        tuple(_CROPS),
        (
            "{}种什么？",
            "{}的农民种哪种作物？",
            "{}的田里长着什么？",
            "{}主要的作物是什么？",
            "农民在{}种什么？",
        ),
        ("{}的农民种{value}。", "{}的田里长着{value}。"),
    ),
    Relation(
        "特产",
        tuple(_GOODS),
        (
            "{}的特产是什么？",
            "{}以什么闻名？",
            "人们在{}买什么？",
            "{}出产什么？",
            "什么是{}做的？",
        ),
        ("{}的特产是{value}。", "{}以{value}闻名。"),
    ),
    Relation(
        "季节",
        tuple(_SEASONS),
        (
            "{}的集市在什么季节？",
            "{}什么时候有集市？",
            "哪个季节{}有集市？",
            "{}何时开集市？",
            "{}的集市何时开？",
        ),
        ("{}的集市在{value}。", "{}在{value}有集市。"),
    ),
)


@cache
def chinese() -> World:
    """The world in Chinese."""
    rng = generator("facts in Chinese")
    full = [a + b + c for a in _FAMILY for b in _GIVEN for c in _GIVEN if b != c]
    people = tuple(
        Entity(name, draw_values(rng, _PEOPLE_RELATIONS)) for name in rng.sample(full, _N_PEOPLE)
    )
    places = [place + suffix for place in _PLACE for suffix in _SUFFIX]
    towns = tuple(
        Entity(name, draw_values(rng, _TOWN_RELATIONS)) for name in rng.sample(places, _N_TOWNS)
    )
    return World(
        ((people, _PEOPLE_RELATIONS), (towns, _TOWN_RELATIONS)),
        "以下是关于人物和城镇的问题。\n\n",
        "问题：{}\n答案：",
        "",
    )
