"""Names of places: ISO codes, other names of countries, provinces of China."""

from __future__ import annotations

# ISO 3166-1 alpha-3:alpha-2.
_ISO = """
ABW:AW AFG:AF AGO:AO ALB:AL ARE:AE ARG:AR ARM:AM ASM:AS ATG:AG AUS:AU AUT:AT AZE:AZ BDI:BI BEL:BE BEN:BJ
BFA:BF BGD:BD BGR:BG BHR:BH BHS:BS BIH:BA BLR:BY BLZ:BZ BMU:BM BOL:BO BRA:BR BRB:BB BRN:BN BTN:BT BWA:BW
CAF:CF CAN:CA CHE:CH CHL:CL CHN:CN CIV:CI CMR:CM COD:CD COG:CG COK:CK COL:CO COM:KM CPV:CV CRI:CR CUB:CU
CYM:KY CYP:CY CZE:CZ DEU:DE DJI:DJ DMA:DM DNK:DK DOM:DO DZA:DZ ECU:EC EGY:EG ERI:ER ESH:EH ESP:ES EST:EE
ETH:ET FIN:FI FJI:FJ FLK:FK FRA:FR FRO:FO GAB:GA GBR:GB GEO:GE GHA:GH GIB:GI GIN:GN GLP:GP GMB:GM GNB:GW
GNQ:GQ GRC:GR GRD:GD GRL:GL GTM:GT GUF:GF GUM:GU GUY:GY HKG:HK HND:HN HRV:HR HTI:HT HUN:HU IDN:ID IND:IN
IRL:IE IRN:IR IRQ:IQ ISL:IS ISR:IL ITA:IT JAM:JM JOR:JO JPN:JP KAZ:KZ KEN:KE KGZ:KG KHM:KH KIR:KI KNA:KN
KOR:KR KWT:KW LAO:LA LBN:LB LBR:LR LBY:LY LCA:LC LIE:LI LKA:LK LSO:LS LTU:LT LUX:LU LVA:LV MAC:MO MAR:MA
MDA:MD MDG:MG MDV:MV MEX:MX MKD:MK MLI:ML MLT:MT MMR:MM MNE:ME MNG:MN MOZ:MZ MRT:MR MSR:MS MTQ:MQ MUS:MU
MWI:MW MYS:MY NAM:NA NCL:NC NER:NE NGA:NG NIC:NI NLD:NL NOR:NO NPL:NP NRU:NR NZL:NZ OMN:OM PAK:PK PAN:PA
PER:PE PHL:PH PNG:PG POL:PL PRI:PR PRK:KP PRT:PT PRY:PY PSE:PS PYF:PF QAT:QA REU:RE ROU:RO RUS:RU RWA:RW
SAU:SA SDN:SD SEN:SN SGP:SG SHN:SH SLB:SB SLE:SL SLV:SV SOM:SO SPM:PM SRB:RS SSD:SS STP:ST SUR:SR SVK:SK
SVN:SI SWE:SE SWZ:SZ SYC:SC SYR:SY TCA:TC TCD:TD TGO:TG THA:TH TJK:TJ TKM:TM TLS:TL TON:TO TTO:TT TUN:TN
TUR:TR TWN:TW TZA:TZ UGA:UG UKR:UA URY:UY USA:US UZB:UZ VCT:VC VEN:VE VGB:VG VIR:VI VNM:VN VUT:VU WSM:WS
XKX:XK YEM:YE ZAF:ZA ZMB:ZM ZWE:ZW
"""
ISO2 = dict(pair.split(":") for pair in _ISO.split())

OTHER_NAMES = {
    "USA": ("United States of America", "America", "U.S.", "U.S.A."),
    "GBR": ("UK", "Great Britain", "Britain"),
    "KOR": ("Korea", "Republic of Korea"), "ARE": ("UAE", "Emirates"), "CZE": ("Czech Republic",),
    "CIV": ("Ivory Coast", "Côte d'Ivoire"), "COD": ("DR Congo", "DRC"), "SWZ": ("Swaziland",),
    "TUR": ("Türkiye",), "NLD": ("Holland", "The Netherlands"), "CPV": ("Cabo Verde",), "MMR": ("Burma",),
    "VNM": ("Viet Nam",),
    "RUS": ("Russian Federation",), "TLS": ("Timor-Leste",), "HKG": ("Hong Kong SAR",), "MAC": ("Macau",),
    "DEU": ("Deutschland",), "REU": ("Réunion",), "CHN": ("PR China", "Mainland China"),
}
MISSING_NAMES = {"XKX": "Kosovo", "LIE": "Liechtenstein"}

_CHINA = """
BJ:Beijing TJ:Tianjin HE:Hebei SX:Shanxi NM:Inner_Mongolia LN:Liaoning JL:Jilin HL:Heilongjiang SH:Shanghai
JS:Jiangsu ZJ:Zhejiang AH:Anhui FJ:Fujian JX:Jiangxi SD:Shandong HA:Henan HB:Hubei HN:Hunan GD:Guangdong
GX:Guangxi HI:Hainan CQ:Chongqing SC:Sichuan GZ:Guizhou YN:Yunnan SN:Shaanxi GS:Gansu QH:Qinghai NX:Ningxia
XJ:Xinjiang
"""
CHINA = dict(pair.split(":") for pair in _CHINA.split())

# Countries of several weakly joined grids, or of very different provinces: the country's factor tells little
# about one city.
WIDE_COUNTRIES = frozenset(("USA", "CAN", "CHN", "IND", "AUS", "BRA", "RUS", "IDN", "JPN", "MEX", "ARG",
                            "KAZ", "NOR", "SWE", "MYS"))
